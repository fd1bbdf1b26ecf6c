"""Checks the environments of a task: plays a few calls at random in their worlds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice

from aepo.doctor.finding import Finding
from aepo.environments.check import CLOSE, checked
from aepo.tasks.base import Task

QUESTIONS = 3
"""Questions of each environment."""
CALLS = 20
"""Calls in each world."""


def worlds(task: Task | None) -> Iterator[Finding]:
    """Find what would spoil a rollout in the worlds of a task."""
    for name, environment in {} if task is None else task.environments.items():
        asked = (sample for sample in task.samples if task.environment_of(sample) == name)
        samples = list(islice(asked, QUESTIONS))
        if not samples:
            continue
        # The faults are shown below; the log of the worlds would show them twice.
        log = logging.getLogger("aepo.environments")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            found = checked(environment, samples, CALLS)
        finally:
            log.setLevel(level)
        for fault in found.faults:
            yield Finding("worlds", name, fault.what, "note" if fault.remedy == CLOSE else "missing", fault.remedy)
        if not found.faults:
            ways = "snapshots" if environment.snapshots else "replay"
            text = f"{len(samples)} questions, {CALLS} calls at random: equal in two worlds, and in branches by {ways}"
            yield Finding("worlds", name, text + (f"; {found.untested}" if found.untested else ""))
