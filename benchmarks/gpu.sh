#!/usr/bin/env bash
# Everything that only a GPU can show, in at most nine minutes: kernels against their definition, sampling and training
# of random Qwen3 beside transformers and beside the estimates of `aepo doctor`, five steps of AEPO and GRPO.
#
#   bash benchmarks/gpu.sh [--toy] [FOLDER]     FOLDER: by default $OUT, else runs/gpu
#
# FOLDER/gpu.json has every figure as soon as it is measured, FOLDER/gpu.log what the parts printed. Each part has its
# own time limit and fails alone. --toy runs the same on a CPU at toy size. It needs this checkout and, where python3
# finds them, torch, transformers and what aepo imports. Without a sandbox for the agent's programs its runs fail,
# unless AEPO_GPU_NO_SANDBOX=1 says that this machine may run them as they are.
set -u
cd "$(dirname "$0")/.."
toy=
if [ "${1:-}" = --toy ]; then toy=--toy; shift; fi
folder=${1:-${OUT:-runs/gpu}}
mkdir -p "$folder"
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
python=${PYTHON:-python3}

part() {
  local limit=$1 began=$SECONDS
  shift
  echo "== $* (at most $limit s)" | tee -a "$folder/gpu.log"
  timeout -k 5 "$limit" "$@" >>"$folder/gpu.log" 2>&1
  local code=$?
  echo "   $((SECONDS - began)) s, exit $code" | tee -a "$folder/gpu.log"
  if [ $code -ne 0 ]; then tail -n 4 "$folder/gpu.log" | head -n 3 | cut -c1-300; fi
}

: >"$folder/gpu.log"
gpu="$python benchmarks/gpu.py --folder $folder $toy"
part 40 $gpu versions
part 120 $gpu kernels
part 110 $gpu bench qwen3-0.6b
part 150 $gpu runs qwen3-0.6b
part 130 $gpu bench qwen3-4b
$gpu table | tee "$folder/table.txt"
