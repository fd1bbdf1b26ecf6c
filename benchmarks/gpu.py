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
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from aepo.doctor.finding import size

TOY = Path(__file__).parent / "toy" / "config.json"
TESTS = ("tests/engines/test_tree_attention.py", "tests/engines/test_head.py")
SECONDS = 15
"""Where a part stands is printed this often: a part that its limit ends says what it was doing."""
MET = {None: "-", True: "yes", False: "no"}
SHARP = "rollout.temperature=0.1"
"""Makes the distributions of random weights as sharp as a trained model's, so that roundings show."""
ROWS = 64
"""Rows with which sampling has its target."""


class Figures:
    """What was measured, in one file that is whole at any time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "gpu.json"

    def read(self) -> dict[str, Any]:
        """All figures so far, by "part/name"."""
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def put(self, name: str, value: Any) -> None:
        """Keep one, and print it."""
        print(f"{name}: {json.dumps(value)}", file=sys.stderr, flush=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.read() | {name: value}, indent=1))
        os.replace(part, self.file)

    def try_to(self, name: str, measure: Callable[[], Any]) -> None:
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


def versions(figures: Figures, options: argparse.Namespace) -> None:
    """What it runs on."""
    import transformers

    on_gpu = torch.cuda.is_available()
    found = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if on_gpu else f"cpu ({platform.machine()})",
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
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
    """`aepo bench` of a size with random weights, its figures part by part; and a profile of a decode step."""
    out = figures.file.with_name(f"bench-{options.size}.json")
    dimensions = str(TOY) if options.toy else options.size
    short = ["--rows", "1", str(ROWS), "--prompt", "16", "--tokens", "8"] if options.toy else []
    settings = [SHARP, "model.dtype=bfloat16"] + (["train.threads=1"] if options.toy else [])
    if not options.toy and options.size != "qwen3-0.6b":
        # A pass of 16,384 tokens on whole trajectories would not fit beside the optimizer of the larger one.
        settings += ["train.micro_batch_tokens=4096"]
    words = ["bench", *settings, "--random", dimensions, *short]
    command = [sys.executable, "-m", "aepo.cli", *words, "--minutes", str(options.minutes), "--out", str(out)]
    done = subprocess.run(command, check=False)
    found = json.loads(out.read_text()) if out.exists() else {"parts": {}}
    for name, value in found["parts"].items():
        figures.put(f"bench/{options.size}/{name}", value)
    figures.put(
        f"bench/{options.size}", {"exit": done.returncode, **found.get("shape", {}), **found.get("machine", {})}
    )


def profile(figures: Figures, options: argparse.Namespace) -> None:
    """What a decode step consists of."""
    rows = ["--rows", "4", "--prompt", "16"] if options.toy else ["--rows", str(ROWS)]
    dimensions = str(TOY) if options.toy else options.size
    command = [sys.executable, "benchmarks/decode_profile.py", dimensions, *rows]

    def watched() -> Any:
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    figures.try_to(f"profile/{options.size}", watched)


def runs(figures: Figures, options: argparse.Namespace) -> None:
    """Five steps of AEPO and GRPO on `atlas`, in full and with adapters."""
    from gpu_runs import all_runs

    for name, run in all_runs(str(TOY) if options.toy else options.size, options.toy):
        figures.try_to(f"runs/{name}", run)


def targets(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The figures that have a target, beside it; None where it was not measured."""

    def ratio(one: Any, other: Any, field: str) -> float | None:
        both = [figures.get(name, {}).get(field) for name in (one, other)]
        return None if None in both else both[0] / both[1]

    def step(name: str) -> float | None:
        # The first step compiles.
        seconds = [one for one in figures.get(name, {}).get("time/step", [])[1:] if one is not None]
        return median(seconds) if seconds else None

    aepo, grpo = step("runs/full/aepo"), step("runs/full/grpo")
    parts = [one for one in figures.values() if isinstance(one, dict) and one.get("state") != "left out"]
    judged = [one for one in parts if one.get("fits")]
    small = "bench/qwen3-0.6b"
    rows = [
        ("AEPO step / GRPO step at k = 8, full", None if None in (aepo, grpo) else aepo / grpo, "at most", 1.0),
        (
            f"sampling / transformers.generate, {ROWS} rows",
            ratio(f"{small}/sampling, {ROWS} rows", f"{small}/generate, {ROWS} rows", "tokens_per_second"),
            "at least",
            3.0,
        ),
        (
            "seconds of training on the tree / flat, s = 4",
            ratio(f"{small}/training, tree", f"{small}/training, flat", "seconds"),
            "at most",
            0.4,
        ),
        (
            f"out of memory of the {len(judged)} parts that doctor's estimate calls fitting",
            float(sum(one.get("state") == "out of memory" for one in judged)) if judged else None,
            "at most",
            0.0,
        ),
    ]
    return {
        name: {
            "figure": figure,
            "target": f"{bound} {value:g}",
            "met": None if figure is None else figure <= value if bound == "at most" else figure >= value,
        }
        for name, figure, bound, value in rows
    }


def table(figures: Figures, options: argparse.Namespace) -> None:
    """One line a figure, short; the targets last."""
    figures.put("targets", targets(figures.read()))
    for name, value in figures.read().items():
        if name == "targets":
            continue
        if not isinstance(value, dict):
            print(f"{name:34} {_short(value)}")
            continue
        top = value.pop("top", [])
        print(f"{name:34} " + "  ".join(f"{k} {_short(v, k)}" for k, v in value.items()))
        for kernel in top[:8]:
            print(f"{'':36}{kernel[2]:8.3f} ms  x{kernel[1]:6.1f}  {kernel[0][:80]}")
    print(f"\n{'target':66} {'measured':>10}  {'wanted':<14}met")
    for name, one in figures.read()["targets"].items():
        figure = "-" if one["figure"] is None else _short(one["figure"])
        print(f"{name:66} {figure:>10}  {one['target']:<14}{MET[one['met']]}")


def _short(value: Any, name: str = "") -> str:
    if value is not None and name.endswith("bytes"):
        return size(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + " ".join(map(_short, value)) + "]"
    return str(value)


PARTS: dict[str, Callable[[Figures, argparse.Namespace], None]] = {
    "versions": versions,
    "kernels": kernels,
    "bench": bench,
    "profile": profile,
    "runs": runs,
    "table": table,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("size", nargs="?", default="qwen3-0.6b")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0, help="of aepo bench")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    faulthandler.dump_traceback_later(SECONDS, repeat=True)
    PARTS[options.part](Figures(options.folder), options)


if __name__ == "__main__":
    main()
