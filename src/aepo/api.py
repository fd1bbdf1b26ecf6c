"""The public functions: `train`, `evaluate`, `solve`, `load_policy`, `view`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepo import tasks
from aepo.assembly.policies import load_policy
from aepo.config import Config
from aepo.equipment.models import started_from
from aepo.files.paths import expanded
from aepo.process.signals import terminable
from aepo.runs.brought import config_of, run_of
from aepo.runs.folder import RunFolder
from aepo.runs.resumed import task_of_run, with_date
from aepo.solving.solve import solve
from aepo.tasks.base import Task
from aepo.tasks.place import place_of
from aepo.tools.state import warn_of_state
from aepo.types import Sample
from aepo.viewer import view

if TYPE_CHECKING:
    from aepo.algorithms.base import Algorithm
    from aepo.engines.local.policy import LocalPolicy
    from aepo.engines.openai.policy import ServerPolicy
    from aepo.evaluation.runner import Evaluation
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
    config: Config
    task: Task

    def __fspath__(self) -> str:
        """The run folder, so that `aepo.view(run)` works."""
        return str(self.folder)


def train(
    model: str,
    task: Task,
    algorithm: Algorithm | None = None,
    config: Config | None = None,
    run: str | None = None,
    resume: bool = False,
    display: Display | None = None,
    on_step: OnStep | None = None,
) -> Run:
    """Train `model` on `task`.

    Args:
        model: Folder or hub name of a causal LM, "atlas" or "house"; a server cannot be trained.
        task: Questions, tools and reward.
        algorithm: `aepo.AEPO()` by default; its fields are its settings.
        config: All other settings; class defaults by default.
        run: Folder of the run; by default `config.run`.
        resume: Go on with the run of that folder.
        display: Who is told; by default the terminal.
        on_step: A function that is called with each step's number and metrics, and again after an evaluation.

    Raises:
        ValueError: Something does not fit; nothing was trained.
    """
    settings = config or Config()
    changes: dict[str, Any] = {"model": settings.model.model_copy(update={"path": expanded(model)})}
    changes["task"] = settings.task.model_copy(update={"name": place_of(task) or task.name})
    if algorithm is not None:
        changes["algorithm"] = algorithm
    if run is not None:
        changes["run"] = expanded(run)
    return train_task(settings.model_copy(update=changes), task, resume=resume, display=display, on_step=on_step)


def train_config(config: Config, resume: bool = False, display: Display | None = None) -> Run:
    """Train what a configuration describes; see `train`."""
    if resume:
        task = task_of_run(Path(config.run), config, RunFolder(Path(config.run)).resumption())
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
        on_step: As of `train`.

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
    if not resume:
        RunFolder(Path(config.run)).check_free()
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


@terminable()
def evaluate(
    policy: LocalPolicy | ServerPolicy | str | PathLike[str],
    task: Task | None = None,
    samples: int = 5,
    greedy: bool = True,
    questions: Sequence[Sample] | None = None,
    config: Config | None = None,
) -> Evaluation:
    """Pass@1, Pass@k, greedy success, tool calls and tokens on a task's held-out questions; on all if it has none.

    Args:
        policy: What `train` returned, a policy of `train` or `load_policy`, or an argument of `load_policy`. A run
            brings its configuration and its task.
        task: Questions, tools and reward; only a run needs none.
        samples: Sampled trajectories per question.
        greedy: Whether each question also gets a greedy trajectory.
        questions: Questions to use in place of the held-out ones.
        config: Its `rollout`, `rewards` and `tools` parts and `seed` are used; its budget is for this evaluation alone.
            By default that of the run.

    Raises:
        ValueError: Something does not fit.
    """
    from aepo.assembly import evaluation

    run = run_of(policy)
    settings = config_of(run, config)
    if task is None and isinstance(policy, Run):
        task = policy.task
    if task is None:
        if run is None:
            raise ValueError("aepo.evaluate needs a task: only a run brings its own")
        task = task_of_run(run, settings, f"aepo.evaluate({str(run)!r}, task)")
    if isinstance(policy, Run) and policy.policy is not None:
        policy = policy.policy
    elif isinstance(policy, str | PathLike):
        path = fspath(policy)
        policy = load_policy(path, settings.model.model_copy(update={"path": path}))
    return evaluation.evaluate(policy, task, samples, greedy, questions, settings)


__all__ = ["Run", "evaluate", "load_policy", "solve", "train", "train_config", "train_task", "view"]
