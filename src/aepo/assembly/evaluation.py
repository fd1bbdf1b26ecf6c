"""Evaluates a policy on a task, under a configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aepo.config import Config, ConfigError
from aepo.equipment.agents import agents, scorer_of
from aepo.equipment.tools import equip
from aepo.evaluation import runner
from aepo.evaluation.runner import Evaluation
from aepo.process import event_loop
from aepo.tasks.base import Task
from aepo.tasks.checks import checked
from aepo.tools.state import warn_of_state
from aepo.types import Sample

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy
    from aepo.engines.openai.policy import ServerPolicy


def evaluate(
    policy: LocalPolicy | ServerPolicy,
    task: Task,
    samples: int,
    greedy: bool,
    questions: Sequence[Sample] | None,
    config: Config,
) -> Evaluation:
    """Evaluate a policy on a task; arguments and errors as in `aepo.api.evaluate`."""
    asked = list(checked(task.held_out or task.samples if questions is None else questions, "question-", "questions"))
    if not asked:
        raise ValueError(f"no question of task {task.name!r} to evaluate with: ask at least one")
    if questions is None and not task.held_out:
        _log.warning("task %r has no held-out questions: this evaluation is on training questions", task.name)
    warn_of_state(task.tools)
    equipment = equip(config, task.tools)
    if equipment.store is not None and config.tools.cache is None and not Path(config.run).is_dir():
        raise ConfigError("an evaluation keeps tool results where it is told: give tools.cache a file")
    agent, best = agents(policy, equipment.of(task), config, asked)
    with equipment.in_use(Path(config.run)):
        return event_loop.run(
            runner.evaluate, asked, scorer_of(task, config), agent, best if greedy else None, samples, config.seed
        )
