"""How much longer a training step takes beside other busy processes: one run, quiet at first, then not.

`aepo train` trains on the packaged task. After `--steps` steps one process a core begins to compute without a pause,
and the run takes as many steps again. Prints the medians of both halves and their ratio, which should be at most 3. The
run's first step is left out, and the one during which the others began.

    python benchmarks/busy_machine.py --steps 6
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from aepo.runs.metrics import read_metrics

BUSY = "while True: pass"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="quickstart")
    parser.add_argument("--steps", type=int, default=6, help="before and after the others begin")
    parser.add_argument("--each", type=int, default=1, help="busy processes for each core")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as others:
        run = Path(folder) / "run"
        steps = 2 * options.steps + 1
        settings = [f"run={run}", f"train.steps={steps}", "train.trackers=[]", "evaluation.questions=1"]
        log = others.enter_context((Path(folder) / "log").open("w+"))
        command = [sys.executable, "-m", "aepo.cli", "train", options.config, *settings]
        trained = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        others.callback(trained.kill)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        joined = 0
        while trained.poll() is None:
            time.sleep(0.2)
            done = [row["step"] for row in rows(run)]
            if not joined and done and done[-1] > options.steps:
                joined = done[-1]
                for _ in range(options.each * cores):
                    others.callback(subprocess.Popen([sys.executable, "-c", BUSY]).kill)
        log.seek(0)
        told = log.read()
        if trained.returncode:
            sys.exit(told)
        found = rows(run)
        quiet = [row for row in found if 1 < row["step"] <= joined]
        # The step during which the others began belongs to neither half.
        busy = [row for row in found if row["step"] > joined + 1]
        print(f"{cores} cores, {options.each * cores} busy processes, {len(quiet)} and {len(busy)} steps")
        print(f"{'median s':12}{'quiet':>9}{'busy':>9}{'ratio':>8}")
        for name in ("time/rollout", "time/train", "time/step"):
            a, b = (median(row[name] for row in half) for half in (quiet, busy))
            print(f"{name.removeprefix('time/'):12}{a:9.2f}{b:9.2f}{b / a:8.2f}")
        for line in told.splitlines():
            if "load changed" in line:
                print(line.strip())


def rows(run: Path) -> list[dict[str, float]]:
    """The metrics of each training step so far."""
    file = run / "metrics.jsonl"
    return [row for row in read_metrics(file) if "time/step" in row] if file.is_file() else []


if __name__ == "__main__":
    main()
