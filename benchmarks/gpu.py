"""The parts of `gpu.sh`: each writes its figures into FOLDER/gpu.json as soon as it has them; `table` shows them.

python benchmarks/gpu.py --folder runs/gpu bench qwen3-0.6b
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

ROWS, TOY_ROWS = (1, 16, 64, 256), (1, 8)
TESTS = ("tests/engines/test_tree_attention.py", "tests/engines/test_head.py")
GIB = 1 << 30
SECONDS = 15
"""Where a part stands is printed this often: a part that its limit ends says what it was doing."""


class Figures:
    """What was measured, in one file that is whole at any time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "gpu.json"

    def read(self) -> dict[str, Any]:
        """All figures so far, by "part/name"."""
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def put(self, name: str, value: Any) -> None:
        """Keep one, and print it."""
        print(f"{name}: {json.dumps(value)}", flush=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.read() | {name: value}, indent=1))
        os.replace(part, self.file)

    def try_to(self, name: str, measure: Callable[[], Any]) -> Any:
        """Keep what a measurement gives, or why it gave nothing."""
        try:
            value = measure()
        except Exception as error:
            traceback.print_exc()
            value = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        self.put(name, value)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return value


def versions(figures: Figures, options: argparse.Namespace) -> None:
    """What it runs on."""
    import transformers

    on_gpu = torch.cuda.is_available()
    found = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu ({platform.machine()})",
        "memory_gib": torch.cuda.get_device_properties(0).total_memory / GIB if on_gpu else None,
        "toy": options.toy,
    }
    figures.put("versions", found)


def kernels(figures: Figures, options: argparse.Namespace) -> None:
    """The tests that need CUDA; on a CPU the others of the same files."""
    marked = "gpu" if torch.cuda.is_available() else "not gpu and not slow"
    for file in TESTS:

        def test(file: str = file) -> dict[str, Any]:
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", marked, file]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            print(done.stdout, done.stderr)
            lines = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()
            failed = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
            return {"exit": done.returncode, "said": lines[-1], "failed": failed[:20]}

        figures.try_to(f"kernels/{file}", test)


def bench(figures: Figures, options: argparse.Namespace) -> None:
    """Sampling, training, agreement and a profile of one model with random weights."""
    from bench.sampling import generated, profile, prompts_of, sampled
    from bench.sizes import SIZES, random_policy
    from bench.training import agreement, made_up, shared_for, trained

    toy, name = options.toy, options.size
    size = SIZES["toy" if toy else name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    key = f"bench/{name}"
    policy = random_policy(size, device, torch.bfloat16)
    weights = sum(p.numel() * p.element_size() for p in policy.model.parameters())
    parameters = sum(p.numel() for p in policy.model.parameters())
    figures.put(
        f"{key}/model", {"parameters": parameters, "weights_gib": weights / GIB, "dtype": str(policy.model.dtype)}
    )
    length, tokens = (16, 12) if toy else (128, 64)

    def one_rollout(rows: int) -> dict[str, Any]:
        prompts = prompts_of(policy, rows, length)
        sampled(policy, prompts, 6)
        cost, step = sampled(policy, prompts, tokens)
        told = estimated(size, rows * (length + tokens), 0, 0)
        return {"tokens_s": rows * tokens / cost.seconds, "step_ms": step * 1e3, "peak_gib": gib(cost.peak), **told}

    def one_generate(rows: int) -> dict[str, Any]:
        prompts = prompts_of(policy, rows, length)
        generated(policy, prompts, 6)
        cost = generated(policy, prompts, tokens)
        return {"tokens_s": rows * tokens / cost.seconds, "peak_gib": gib(cost.peak)}

    figures.try_to(f"{key}/start", lambda: {"seconds": timed(policy, lambda: policy.refuse_tree(list(range(40, 80))))})
    apart = (2, 2, 16, 8) if toy else (4, 4, 128, 96)
    for temperature in (1.0, 0.1):
        figures.try_to(
            f"{key}/agreement/T={temperature}",
            lambda temperature=temperature: {
                k: asdict(v) if hasattr(v, "mean") else v for k, v in agreement(policy, *apart, temperature).items()
            },
        )
    alone, micro = (8, 512) if toy else (256, 16384 if parameters < 2e9 else 8192)
    batch = made_up(size.spoken, 1 if toy else 2, 8, shared_for(4.0, alone, 8), alone)

    def one_step(layout: str) -> dict[str, Any]:
        from bench.clock import best

        first = timed(policy, lambda: trained(policy, layout, batch, micro))
        cost = best(lambda: trained(policy, layout, batch, micro), device, 1 if toy else 2)
        reads = int(batch.lengths_B.sum())
        told = estimated(size, 0, parameters, min(micro, reads if layout == "flat" else reads // 4))
        speed = {"flat_tokens_s": reads / cost.seconds, "seconds": cost.seconds, "first_seconds": first}
        return {**speed, "peak_gib": gib(cost.peak), **told}

    for layout in ("flat", "tree"):
        figures.try_to(f"{key}/train/{layout}", lambda layout=layout: one_step(layout))
    for rows in TOY_ROWS if toy else ROWS:
        figures.try_to(f"{key}/sample/{rows}", lambda rows=rows: one_rollout(rows))
        figures.try_to(f"{key}/generate/{rows}", lambda rows=rows: one_generate(rows))
    figures.try_to(f"{key}/profile", lambda: profile(policy, prompts_of(policy, 4 if toy else 64, length), 4))


def estimated(size: Any, cached: int, trained: int, scored: int) -> dict[str, float]:
    """What `aepo doctor` would say of the same work, without an optimizer's moments."""
    from bench.sizes import config_of

    from aepo.doctor import estimate
    from aepo.engines.local.shape import shape_from

    shape = shape_from(config_of(size))
    total = estimate.weights_bytes(shape, "bfloat16") + estimate.cache_bytes(shape, cached, "bfloat16")
    if scored:
        total += 2 * trained + estimate.pass_bytes(shape, scored, "bfloat16", checkpointed=False)
    return {"estimate_gib": total / GIB}


def runs(figures: Figures, options: argparse.Namespace) -> None:
    """Five steps of AEPO and GRPO on `atlas`, in full and with adapters, by the package's agent in a large model."""
    from bench.sizes import SIZES
    from grown import grow

    toy = options.toy
    figures.put("runs/sandbox", sandbox() or "unsafe_no_sandbox")
    # Gigabytes, which nobody wants beside the figures.
    with tempfile.TemporaryDirectory() as made:
        folder = grow(SIZES["toy" if toy else options.size], Path(made) / "model")
        for kind in ("full", "lora"):
            for algorithm in ("aepo", "grpo"):
                name = f"runs/{kind}/{algorithm}"
                figures.try_to(name, lambda kind=kind, algorithm=algorithm: one_run(folder, algorithm, kind, toy))


def sandbox() -> str | None:
    """Where the agent's programs run; None where there is no sandbox and AEPO_GPU_NO_SANDBOX says to go on."""
    from aepo.tools.sandbox.base import SandboxUnavailable
    from aepo.tools.sandbox.choose import choose

    try:
        return choose().name
    except SandboxUnavailable:
        if not os.environ.get("AEPO_GPU_NO_SANDBOX"):
            raise
        return None


def one_run(model: Path, algorithm: str, kind: str, small: bool) -> dict[str, Any]:
    """Figures of a run, step by step."""
    from bench.clock import cost

    import aepo
    from aepo.api import train_config
    from aepo.doctor import estimate
    from aepo.engines.local.shape import shape_of
    from aepo.engines.local.table import RowTable
    from aepo.runs import checkpoint

    where = model.parent / f"{algorithm}-{kind}"
    # A checkpoint of gigabytes takes longer than the steps.
    checkpoint.save = lambda *given: None  # type: ignore[assignment]
    settings = [
        f"run={where}",
        f"model.path={model}",
        "model.dtype=bfloat16",
        f"task.options={{sandbox: {sandbox() or 'unsafe_no_sandbox'}}}",
        f"algorithm.name={algorithm}",
        "algorithm.group_size=8",
        f"rollout.questions={2 if small else 8}",
        f"rollout.max_tokens={64 if small else 256}",
        "rollout.max_sequences=64",
        f"train.steps={2 if small else 5}",
        "train.minibatches=2",
        "train.checkpoint_every=1000000",
        "train.trees_every=1000000",
        "evaluation.questions=1",
        "evaluation.samples=1",
        "evaluation.greedy=false",
        *(["train.threads=1"] if small else []),
        *(["model.lora={rank: 16}", "train.learning_rate=1e-5"] if kind == "lora" else []),
    ]
    config = aepo.load_config(None, settings)
    calls: list[tuple[str, int]] = []
    kept = RowTable.decode, RowTable.prefill

    def decode(self: Any, rows: Any, moves: Any) -> Any:
        calls.append(("decode", len(rows)))
        return kept[0](self, rows, moves)

    def prefill(self: Any, rows: Any) -> Any:
        calls.append(("prefill", len(rows)))
        return kept[1](self, rows)

    RowTable.decode, RowTable.prefill = decode, prefill  # type: ignore[method-assign]
    try:
        with cost(torch.device("cuda" if torch.cuda.is_available() else "cpu")) as found:
            run = train_config(config)
    finally:
        RowTable.decode, RowTable.prefill = kept  # type: ignore[method-assign]
    steps = [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]
    steps = [step for step in steps if "time/step" in step]
    rows = [count for name, count in calls if name == "decode"]
    wanted = ("time/rollout", "time/train", "logprobs/rollout_difference_mean", "logprobs/rollout_difference_max")
    wanted += (
        "reward/mean",
        "tool/calls_per_trajectory",
        "tokens/sampled",
        "branch/share",
        "train/idle_share",
        "train/sharing",
        "train/distinct_tokens",
        "grad/norm",
    )
    assert run.policy is not None
    trained = sum(p.numel() for p in run.policy.parameters())
    told = estimate.memory(config, shape_of(str(model)), trained, "bfloat16", found.peak is None, 64)
    return {
        "seconds": found.seconds,
        "peak_gib": gib(found.peak),
        "estimate_gib": told.total / GIB,
        "decode_calls": len(rows),
        "rows_a_call": sum(rows) / max(1, len(rows)),
        "prefill_calls": len(calls) - len(rows),
        **{name: [step.get(name) for step in steps] for name in wanted},
    }


def timed(policy: Any, work: Callable[[], Any]) -> float:
    """Seconds of a piece of work."""
    from bench.clock import cost

    with cost(policy.device) as found:
        work()
    return found.seconds


def gib(count: int | None) -> float | None:
    """Bytes in GiB."""
    return None if count is None else count / GIB


def table(figures: Figures, options: argparse.Namespace) -> None:
    """One line a figure, short."""
    for name, value in figures.read().items():
        if isinstance(value, dict):
            top = value.pop("top", [])
            print(f"{name:34} " + "  ".join(f"{k} {_short(v)}" for k, v in value.items()))
            for kernel in top[:8]:
                print(f"{'':36}{kernel[2]:8.3f} ms  x{kernel[1]:6.1f}  {kernel[0][:80]}")
        else:
            print(f"{name:34} {_short(value)}")


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + " ".join(map(_short, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} {_short(v)}" for k, v in value.items()) + "}"
    return str(value)


PARTS: dict[str, Callable[[Figures, argparse.Namespace], None]] = {
    "versions": versions,
    "kernels": kernels,
    "bench": bench,
    "runs": runs,
    "table": table,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("size", nargs="?", default="qwen3-0.6b")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    faulthandler.dump_traceback_later(SECONDS, repeat=True)
    PARTS[options.part](Figures(options.folder), options)


if __name__ == "__main__":
    main()
