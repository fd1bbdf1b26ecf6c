#!/usr/bin/env bash
# Everything that only a GPU can show, in at most nine minutes: kernels against their definition, `aepo bench` of two
# sizes of Qwen3 with random weights, a profile of decoding, five steps of AEPO and GRPO at equal k; targets last.
#
#   bash benchmarks/gpu.sh [--toy] [FOLDER]     FOLDER: by default $OUT, else runs/gpu
#
# FOLDER/gpu.json has every figure as soon as it is measured, FOLDER/gpu.log what the parts printed, FOLDER/table.txt
# the figures and the targets. Each part has its own time limit and fails alone. --toy runs the same on a CPU at toy
# size. It needs this checkout and, where python3 (or $PYTHON) finds them, torch, transformers and what aepo imports.
# Without a sandbox for the agent's programs its runs fail, unless AEPO_GPU_NO_SANDBOX=1 says that this machine may run
# them as they are.
set -u
cd "$(dirname "$0")/.."
toy=
if [ "${1:-}" = --toy ]; then toy=--toy; shift; fi
folder=${1:-${OUT:-runs/gpu}}
mkdir -p "$folder"
rm -f "$folder"/gpu.json "$folder"/bench-*.json "$folder"/table.txt
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
python=${PYTHON:-python3}
all=530

part() {
  local limit=$1 began=$SECONDS left=$((all - SECONDS))
  shift
  if [ "$limit" -gt "$left" ]; then limit=$left; fi
  if [ "$limit" -lt 5 ]; then echo "== $* left out: no time" | tee -a "$folder/gpu.log"; return; fi
  echo "== $* (at most $limit s)" | tee -a "$folder/gpu.log"
  timeout -k 5 "$limit" "$@" >>"$folder/gpu.log" 2>&1
  local code=$?
  echo "   $((SECONDS - began)) s, exit $code" | tee -a "$folder/gpu.log"
  if [ $code -ne 0 ]; then tail -n 4 "$folder/gpu.log" | head -n 3 | cut -c1-300; fi
}

: >"$folder/gpu.log"
gpu="$python benchmarks/gpu.py --folder $folder $toy"
part 30 $gpu versions
part 110 $gpu kernels
part 125 $gpu bench qwen3-0.6b --minutes 1.7
part 140 $gpu runs qwen3-0.6b
part 110 $gpu bench qwen3-4b --minutes 1.5
part 40 $gpu profile qwen3-0.6b
$gpu table >"$folder/table.txt" 2>>"$folder/gpu.log"
cat "$folder/table.txt"
