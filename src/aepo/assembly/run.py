"""Runs a training in this process, from its configuration to the trained policy."""

from __future__ import annotations

from dataclasses import replace

from aepo.assembly.parts import build
from aepo.config import Config
from aepo.engines.local.gpus import idle
from aepo.engines.local.policy import LocalPolicy
from aepo.equipment.tools import equip
from aepo.runs.begun import begun, gone_on
from aepo.runs.failures import failures_kept
from aepo.tasks.base import Task
from aepo.training.display import Display
from aepo.training.loop import Trainer


def run_here(config: Config, task: Task, resume: bool, named: bool, display: Display) -> LocalPolicy:
    """Train and write to the run folder; arguments and errors as of `aepo.api.train_task`."""
    equipment = equip(config, task.tools)
    policy, parts = build(config, replace(task, tools=equipment.tools), equipment.budget)
    folder = (gone_on if resume else begun)(config, task, named)
    if (line := idle(policy.device)) is not None:
        display.message(line)
    try:
        with failures_kept(folder), equipment.in_use(folder.path, keep=True, resume=resume):
            Trainer(config, parts, folder, display, resume).run()
    finally:
        folder.close()
    return policy
