"""Gives every process of verl the run's configuration and task."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from aepo import tasks
from aepo.config import Config, parse
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


def version(server: Any) -> int | None:
    """The step of a rollout server's weights; call it in the server's process."""
    step: int | None = server.global_steps
    return step
