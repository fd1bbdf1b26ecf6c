"""A training run through faults: is the number of trajectories what it would have been, and do the metrics say it?

The packaged model learns `atlas`, its searches answered by a service on loopback and kept in a cache file. On the way
the service is stopped for a minute, the processes of the sandbox are killed again and again, and another process locks
the cache file for 30 seconds. The table says what the metrics of the run said before, during and after each fault.

    python benchmarks/fault_run.py                                        # about four minutes
    python benchmarks/fault_run.py --outage 2 --lock 2 --steps 12 --questions 2     # a try
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tool_site import Site

from aepo import api, config
from aepo.runs.metrics import read_metrics
from aepo.tasks.atlas import atlas
from aepo.tasks.atlas.world import MAX_NAMESAKES
from aepo.tools.python import python
from aepo.tools.search import Retrieval, search
from aepo.tools.service import ServiceLimits

SHOWN = {
    "reward/mean": "mean",
    "tool/search/calls": "sum",
    "tool/search/error_rate": "mean",
    "tool/python/calls": "sum",
    "tool/python/error_rate": "mean",
    "tool/retries": "sum",
    "tool/cache/hits": "sum",
    "tool/cache/stored": "sum",
    "tool/cache/waiting": "sum",
    "tool/cache/unavailable": "sum",
    "time/rollout": "mean",
}


class Faults:
    """Makes the faults one after the other, while a run goes on, and notes in which steps."""

    def __init__(self, run: Path, site: Site, outage: float, lock: float) -> None:
        """Nothing happens yet."""
        self.run, self.site, self.outage, self.lock = run, site, outage, lock
        self.phases: list[tuple[str, int]] = [("before", 1)]
        self.killed = 0
        self.error: BaseException | None = None

    def __call__(self) -> None:
        """All of them; what goes wrong here is kept for the one who waits."""
        try:
            self._wait_for(2)
            self._phase("search service stopped", self._stop_service)
            self._phase("and back", lambda: self._wait_for(self._steps() + 2))
            self._phase("sandbox killed", self._kill_sandbox)
            self._phase("and after", lambda: self._wait_for(self._steps() + 2))
            self._phase("cache locked", self._lock_cache)
            self._phase("after all", lambda: None)
        except BaseException as error:
            self.error = error

    def _phase(self, name: str, act: Callable[[], None]) -> None:
        # The step under way is the first that may see it.
        self.phases.append((name, self._steps() + 1))
        act()

    def _steps(self) -> int:
        file = self.run / "metrics.jsonl"
        return sum("reward/mean" in row for row in read_metrics(file)) if file.is_file() else 0

    def _wait_for(self, steps: int) -> None:
        while self._steps() < steps:
            time.sleep(0.1)

    def _stop_service(self) -> None:
        self.site.stop()
        time.sleep(self.outage)
        self.site.start()

    def _kill_sandbox(self) -> None:
        until = self._steps() + 3
        while self._steps() < until:
            for process in below(os.getpid()):
                # It may have ended by itself.
                with suppress(FileNotFoundError, ProcessLookupError):
                    line = Path(f"/proc/{process}/cmdline").read_bytes()
                    if b"aepo.tools.sandbox" in line or b"bwrap" in line:
                        os.kill(process, signal.SIGKILL)
                        self.killed += 1
            time.sleep(0.3)

    def _lock_cache(self) -> None:
        connection = sqlite3.connect(self.run / "tools.sqlite", timeout=30, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(self.lock)
        connection.execute("ROLLBACK")
        connection.close()


def below(process: int) -> list[int]:
    """All processes that descend from one."""
    found: list[int] = []
    for thread in os.listdir(f"/proc/{process}/task"):
        try:
            children = Path(f"/proc/{process}/task/{thread}/children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found.append(child)
            try:
                found += below(child)
            except OSError:
                continue
    return found


def table(rows: list[dict[str, Any]], phases: list[tuple[str, int]]) -> str:
    """What the metrics said, a column a phase."""
    ends = [start for _, start in phases[1:]] + [len(rows) + 1]
    within = [rows[start - 1 : end - 1] for (_, start), end in zip(phases, ends, strict=True)]
    lines = [f"{'':26}" + "".join(f"{name:>24}" for name, _ in phases)]
    lines.append(f"{'steps':26}" + "".join(f"{len(part):24}" for part in within))
    for name, how in SHOWN.items():
        cells = []
        for part in within:
            values = [row.get(name, 0.0) for row in part]
            cells.append(f"{(sum(values) if how == 'sum' else fmean(values)) if values else float('nan'):24.3g}")
        lines.append(f"{name + ' (' + how + ')':26}" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Run it; exit status 1 if a trajectory is missing or a fault is not in the metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds without the search service")
    parser.add_argument("--lock", type=float, default=30.0, help="seconds for which the cache file is locked")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--questions", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, site = Path(folder) / "run", Site()
        settings = config.load(
            "quickstart",
            [
                f"run={run}",
                f"train.steps={options.steps}",
                f"rollout.questions={options.questions}",
                "tools.mode=cached",
                "tools.cache_wait=2",
                "train.trackers=[]",
                "train.minibatches=2",
                "evaluation.questions=8",
            ],
        )
        limits = ServiceLimits(deadline=5.0, attempts=3)
        found = search(Retrieval(f"{site.url}/retrieve", limits), top_k=MAX_NAMESAKES)
        task = replace(atlas(size=2000, held_out=20), tools=[found, python()])
        faults = Faults(run, site, options.outage, options.lock)
        thread = threading.Thread(target=faults, daemon=True)
        thread.start()
        try:
            api.train_task(settings, task)
        finally:
            site.stop()
        thread.join(timeout=1)
        if faults.error is not None:
            raise faults.error
        if thread.is_alive():
            sys.exit(f"the run ended before the faults did: in {faults.phases[-1][0]}; give it more --steps")
        rows = [row for row in read_metrics(run / "metrics.jsonl") if "reward/mean" in row]
        print(table(rows, faults.phases))
        expected = options.steps * options.questions * settings.algorithm.group_size
        trajectories = int(rows[-1]["budget/trajectories"])
        print(f"{faults.killed} processes of the sandbox killed; {trajectories:,} trajectories of {expected:,}")
        sys.exit(trajectories != expected)


if __name__ == "__main__":
    main()
