"""Gives every process of verl the run's configuration and task."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from aepo import tasks
from aepo.config import Config, parse
from aepo.engines.stopping import ends_of
from aepo.equipment.agents import protocols_of
from aepo.files.instruction import read_instruction
from aepo.instructions.frame import Frame
from aepo.instructions.population import Population
from aepo.tasks.base import Task

VARIABLE = "AEPO_VERL_CONFIG"
"""The environment variable with the run's configuration, as JSON."""


@functools.cache
def run_config() -> Config:
    """The run's configuration."""
    return parse(json.loads(os.environ[VARIABLE]))


@functools.cache
def run_task() -> Task:
    """The run's task."""
    task = run_config().task
    return tasks.load(task.name, task.options)


def first_population(config: Config, task: Task, tokenizer: Any) -> Population | None:
    """The instructions that a new run begins with; None if it has none.

    Raises:
        ConfigError: A text cannot be an instruction.
    """
    settings, path = config.instructions, config.model.path
    if not settings.enabled:
        return None
    protocols = protocols_of(task, config, tokenizer, ends_of(path)).values()
    return Population.begun(settings, read_instruction(path), Frame(protocols, task.tools, settings.max_tokens))


def version(server: Any) -> int | None:
    """The step of a rollout server's weights; call it in the server's process."""
    step: int | None = server.global_steps
    return step
