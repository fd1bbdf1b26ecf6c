"""Makes the runs of a comparison. Each runs in a process of its own, several at once; a failure stops no other run."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from aepo.comparison.folder import finished, log_file
from aepo.comparison.plan import Plan, PlannedRun
from aepo.comparison.worker import FAILED, work

PRELOADED = ("aepo.training.loop", "aepo.engines.local.load", "aepo.engines.local.policy")
"""Modules that every run needs and that take seconds to import. The process from which runs are forked imports them
once."""


@dataclass(frozen=True)
class Failure:
    """A run that failed, with the reason in one line."""

    run: PlannedRun
    reason: str


def carry_out(plan: Plan, jobs: int, tell: Callable[[str], None]) -> list[Failure]:
    """Make every run that is not finished, and continue those that were interrupted.

    Results do not depend on `jobs`: every run is a process with the number of threads in its configuration.

    Args:
        plan: The comparison; its folder must be claimed.
        jobs: Runs at once.
        tell: A function that gets a line when a run begins or ends.

    Returns:
        The runs that failed.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and every run has stopped with a checkpoint.
    """
    done = [run for run in plan.runs if finished(run)]
    if done:
        tell(f"{len(done)} of {len(plan.runs)} runs are finished and kept")
    waiting = deque(run for run in plan.runs if run not in done)
    (plan.folder / "logs").mkdir(exist_ok=True)
    running: list[_Running] = []
    failures: list[Failure] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = waiting.popleft()
                tell(f"{run}: {'goes on' if run.folder.exists() else 'starts'}")
                running.append(_Running.start(plan, run))
            wait([one.process.sentinel for one in running])
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                if reason := one.failure():
                    failures.append(Failure(one.run, f"{reason} (see {log_file(plan, one.run)})"))
                    tell(f"{one.run}: failed: {failures[-1].reason}")
                else:
                    tell(f"{one.run}: done")
    except KeyboardInterrupt:
        tell("stopping, each run with a checkpoint")
        raise
    finally:
        for one in running:
            one.stop()
    return failures


@dataclass(frozen=True)
class _Running:
    run: PlannedRun
    process: BaseProcess
    told: Connection

    @classmethod
    def start(cls, plan: Plan, run: PlannedRun) -> _Running:
        context = get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        told, failure = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(run.config, log_file(plan, run), failure))
        process.start()
        failure.close()
        return cls(run, process, told)

    def failure(self) -> str:
        """The reason why an ended run failed; "" if it did not fail."""
        self.process.join()
        if self.process.exitcode == 0:
            return ""
        with contextlib.suppress(EOFError):
            if self.process.exitcode == FAILED and self.told.poll():
                return str(self.told.recv())
        return f"its process ended with exit code {self.process.exitcode}"

    def stop(self) -> None:
        """Send the run Ctrl-C (SIGINT), and wait for its end."""
        if self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGINT)
        self.process.join()
