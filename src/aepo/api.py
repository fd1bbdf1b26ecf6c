"""The public functions: `train`, `evaluate`, `solve`, `load_policy`, `view`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from aepo.assembly.policies import load_policy
from aepo.config import Config
from aepo.files.paths import expanded
from aepo.process.signals import terminable
from aepo.runs.brought import config_of, run_of
from aepo.runs.resumed import task_of_run
from aepo.solving.solve import solve
from aepo.start import Run, train_config, train_task
from aepo.tasks.base import Task
from aepo.tasks.named import place_of
from aepo.types import Sample
from aepo.viewer import view

if TYPE_CHECKING:
    from aepo.algorithms.base import Algorithm
    from aepo.engines.local.policy import LocalPolicy
    from aepo.engines.openai.policy import ServerPolicy
    from aepo.evaluation.runner import Evaluation
    from aepo.training.display import Display
    from aepo.training.trackers import OnStep


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
        policy = load_policy(fspath(policy), settings.model)
    return evaluation.evaluate(policy, task, samples, greedy, questions, settings)


__all__ = ["Run", "evaluate", "load_policy", "solve", "train", "train_config", "train_task", "view"]
