"""Starts a training from its configuration, or goes on with one: the task, the free folder, the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aepo import tasks
from aepo.config import Config
from aepo.doctor.extras import check_extras
from aepo.equipment.models import started_from
from aepo.process.signals import terminable
from aepo.runs.begun import check_free
from aepo.runs.folder import RunFolder
from aepo.runs.resumed import task_of_run, with_date
from aepo.runs.stamped import newest, placed
from aepo.tasks.base import Task
from aepo.tools.state import warn_of_state

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy
    from aepo.training.display import Display
    from aepo.training.trackers import OnStep


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: The run folder.
        policy: The trained policy; None after engine verl, whose checkpoints `aepo export` reads.
        config: The configuration of the run.
        task: The task that it was trained on.
    """

    folder: Path
    policy: LocalPolicy | None
    config: Config = field(repr=False)
    task: Task = field(repr=False)

    def __fspath__(self) -> str:
        """The run folder, so that `aepo.view(run)` works."""
        return str(self.folder)


def train_config(config: Config, resume: bool = False, display: Display | None = None) -> Run:
    """Train what a configuration describes; see `train_task`."""
    if config.engine != "verl":
        check_extras(config)
    if resume:
        run = newest(Path(config.run))
        task = task_of_run(run, config, RunFolder(run).resumption())
    else:
        task = tasks.load(config.task.name, config.task.options)
    return train_task(config, task, resume=resume, display=display, named=True)


@terminable()
def train_task(
    config: Config,
    task: Task,
    resume: bool = False,
    display: Display | None = None,
    named: bool = False,
    on_step: OnStep | None = None,
) -> Run:
    """Train with a whole configuration on a task object.

    Args:
        config: The run's.
        task: What it is trained on.
        resume: Go on with the run of that folder.
        display: Who is told; by default the terminal.
        named: Whether `config.task` finds this task; then commands can go on with the run.
        on_step: A function that is called with each step's number and metrics, and again after an evaluation.

    Raises:
        ValueError: Something does not fit; nothing was trained.
        RunFolderError: The run folder holds another run or cannot be written.
        RolloutError: A tool has a bug; the trajectory is kept in the run folder, and a note says where.
        RewardBug: The reward raised an exception.
        KeyboardInterrupt: After a checkpoint, by Ctrl-C, or by SIGTERM if the caller has no handler for it.
        CacheRefused: The file of tool results cannot be used.
        BudgetSpent: The tool calls reached the run's budget; there is a checkpoint to go on from.
        ReplayError: The file of tool results has none for a call; there is a checkpoint to go on from.
    """
    if config.engine != "verl":
        check_extras(config)
    with placed(config, resume) as own:
        return _train(own, task, resume, display, named, on_step)


def _train(
    config: Config, task: Task, resume: bool, display: Display | None, named: bool, on_step: OnStep | None
) -> Run:
    if not resume:
        check_free(RunFolder(Path(config.run)))
    config = started_from(with_date(config, resume))
    warn_of_state(task.tools)
    if config.engine == "verl":
        from aepo.engines.verl import launch

        if on_step is not None:
            raise ValueError("engine verl trains in other processes, which cannot call on_step: use train.trackers")
        launch.train(config, task, resume)
        return Run(Path(config.run), None, config, task)
    from aepo.assembly.run import run_here
    from aepo.doctor.gpus import check
    from aepo.training.display import Display

    policy = run_here(config, task, resume, named, display or Display(), check, on_step)
    return Run(Path(config.run), policy, config, task)
