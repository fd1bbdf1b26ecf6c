"""Checks that a resumed run has the settings, the task and the date of its folder."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from aepo import tasks
from aepo.config import Config, ConfigError, change, flat, parse
from aepo.runs.folder import RunFolder
from aepo.tasks.base import Task
from aepo.tasks.identity import difference, identity, reward_of

FREE_FOR_RUN = (
    "run",
    "rollout.keep_states",
    "train.steps",
    "train.max_trajectories",
    "train.max_sampled_tokens",
    "train.max_executed_calls",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_optimizer",
    "train.trees_every",
    "train.entropy_band",
    "model.price.prompt",
    "model.price.sampled",
    "rewards.concurrency",
)
"""Settings that a resumed run may change besides those of evaluations and tools; they do not change a step."""


def with_date(config: Config, resume: bool) -> Config:
    """The configuration with a date for chat templates: its own, else the run's, else today's."""
    if config.rollout.date is not None:
        return config
    date = parse(RunFolder(Path(config.run)).config()).rollout.date if resume else datetime.date.today()
    return on_day(config, date)


def on_day(config: Config, day: datetime.date | None) -> Config:
    """The configuration with another date."""
    return config.model_copy(update={"rollout": config.rollout.model_copy(update={"date": day})})


def task_of_run(run: Path, config: Config, instead: str) -> Task:
    """The task of a run, by the name in a configuration.

    Args:
        run: The run folder.
        config: The run's configuration, perhaps with overrides.
        instead: The Python call to use instead, for the message.

    Raises:
        ValueError: There is no such task, or the run's task was given from Python as an object.
    """
    folder = RunFolder(run)
    kept = folder.task()
    own = folder.config().get("task", {}).get("name") == config.task.name
    if kept.get("named", True) or not own:
        return tasks.load(config.task.name, config.task.options)
    try:
        task = tasks.load(config.task.name, config.task.options)
    except ValueError:
        task = None
    other = task is not None and kept.get("reward", reward_of(task)) != reward_of(task)
    if task is None or other or difference(kept, identity(task)) is not None:
        raise ValueError(
            f"run {run} was given its task {config.task.name!r} from Python, and commands cannot make that task again: "
            f"use {instead}, or give its arguments as task.options.NAME=VALUE. A function without arguments, in a "
            "module beside the tools, can be found next time"
        )
    return task


def same_task(folder: RunFolder, task: dict[str, Any]) -> bool:
    """Refuse to resume a run on other questions or tools; returns whether the run, of an older version, has none kept.

    Raises:
        ConfigError: One differs; the message names it.
    """
    before = folder.task()
    if before and (what := difference(before, task)) is not None:
        raise ConfigError(
            f"cannot resume {folder.path}: {what} since the run began; set it back, or start another run folder"
        )
    return not before


def same_run(saved: Config, config: Config) -> None:
    """Refuse to resume a run under settings that change its steps.

    Args:
        saved: The settings that the run began with, with defaults for newer settings.
        config: The settings to go on with.

    Raises:
        ConfigError: A setting differs; the message names it.
    """
    before, now = (flat(c.model_dump(mode="json")) for c in (saved, config))
    free = ("evaluation.", "tools.", "verl.", "vllm.")
    fixed = [key for key in before.keys() | now.keys() if key == "tools.repeat" or not key.startswith(free)]
    if what := change(before, now, set(fixed) - set(FREE_FOR_RUN)):
        raise ConfigError(f"cannot resume {config.run}: {what}; set it back, or start another run folder")
