"""What a run takes from its folder when it goes on, or when it is looked at later: its date and its task."""

from __future__ import annotations

import datetime
from pathlib import Path

from aepo import tasks
from aepo.config import Config, parse
from aepo.tasks.base import Task
from aepo.tasks.identity import difference, identity
from aepo.training.run_folder import RunFolder


def with_date(config: Config, resume: bool) -> Config:
    """The configuration with the day that chat templates are told: the one it names, else the run's, else today.

    Raises:
        RunFolderError: There is no run to go on with.
    """
    if config.rollout.date is not None:
        return config
    date = parse(RunFolder.open(config.run).config()).rollout.date if resume else datetime.date.today()
    return config.model_copy(update={"rollout": config.rollout.model_copy(update={"date": date})})


def task_of_run(run: Path, config: Config, instead: str) -> Task:
    """The task of a run that a configuration names.

    Args:
        run: Folder of the run.
        config: The run's own, perhaps with overrides.
        instead: What does the same from Python, for the message.

    Raises:
        ValueError: There is none, or the run was given another one from Python as an object.
    """
    kept = RunFolder(run).task()
    own = RunFolder.open(run).config().get("task", {}).get("name") == config.task.name
    if kept.get("named", True) or not own:
        return tasks.load(config.task.name, config.task.options)
    try:
        task = tasks.load(config.task.name, config.task.options)
    except ValueError:
        task = None
    if task is None or difference(kept, identity(task)) is not None:
        raise ValueError(
            f"run {run} was given its task {config.task.name!r} from Python, and no name finds that task: use {instead}"
        )
    return task
