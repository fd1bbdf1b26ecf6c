"""`aepo.solve`: makes the parts that solve a question, and runs them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aepo import config as configuration
from aepo.assembly.policies import load_policy
from aepo.config import Config
from aepo.equipment.agents import agents
from aepo.equipment.tools import Equipment, equip
from aepo.process import event_loop
from aepo.process.signals import terminable
from aepo.rewards.base import Reward
from aepo.rewards.judge import Ask
from aepo.rewards.outcome import outcome
from aepo.runs.brought import config_of, run_of, told_by
from aepo.runs.resumed import task_of_run
from aepo.solving.budget import SolvingBudget, SolvingPrices
from aepo.solving.loop import KeepGroup, Means, Solving, Watch
from aepo.solving.solution import Solution
from aepo.tasks.base import Task
from aepo.tools.base import Tool
from aepo.tools.state import warn_of_state
from aepo.types import Sample

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from aepo.algorithms.base import Algorithm
    from aepo.engines.local.policy import LocalPolicy


@terminable()
def solve(
    policy: LocalPolicy | str | PathLike[str],
    question: str | Sample,
    tools: Sequence[Tool] | None = None,
    *,
    task: Task | None = None,
    trajectories: int | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    money: float | None = None,
    algorithm: Algorithm | None = None,
    reward: Reward | None = None,
    judge: Ask | None = None,
    config: Config | None = None,
    interruptible: bool = False,
    watch: Watch | None = None,
    kept: KeepGroup | None = None,
) -> Solution:
    """Answer one question: AEPO's rollout under a budget, and a vote over its answers (`docs/solve.md`).

    Args:
        policy: A policy of `train` or `load_policy`, an argument of `load_policy`, or what `train` returned. A run
            brings its configuration, its task, and what its model was told.
        question: The question; with an environment perhaps a sample, whose metadata `reset` takes.
        tools: The tools, in place of those of the run; [] for none.
        task: Gives tools, environment and system message instead of `tools`; its questions and its reward are not
            used. With an environment, the solution has the actions of one trajectory, by its `get_reward` if it has
            one and neither `reward` nor `judge` is given.
        trajectories: Number of trajectories that may begin. If unset, it is 8 without another limit and 64 with one.
        calls: Tool calls that may run.
        tokens: Tokens that the policy may write.
        money: Total price of tokens and calls, by `config.model.price` and the tools' prices.
        algorithm: Gives the rules of the rollout and the size of a round; by default that of `config`.
        reward: Scores trajectories; the best one's answer is chosen instead of the most frequent one.
        judge: Sends a prompt to a model and returns its reply; it chooses among the answers.
        config: Its `rollout`, `rewards`, `tools` and `algorithm` parts, `model.price` and `seed` are used; by default
            that of the run.
        interruptible: Whether Ctrl-C ends the rollout with a vote over the ended trajectories, instead of raising
            KeyboardInterrupt.
        watch: Called with the progress whenever a trajectory has ended.
        kept: Called with the number and the group of each round that has ended.

    Raises:
        ValueError: Something does not fit; no trajectory began.
        RolloutError: A tool has a bug.
        Exception: The engine, the reward or the judge raised it.
    """
    run = run_of(policy)
    settings = config_of(run, config)
    if algorithm is not None:
        settings = settings.model_copy(update={"algorithm": algorithm})
    if task is None and tools is None and run is not None:
        task = task_of_run(run, settings, f"aepo.solve({str(run)!r}, question, task=task)")
    asked = _asked(question, tools or (), task, run)
    if isinstance(policy, str | PathLike):
        policy = cast("LocalPolicy", load_policy(fspath(policy), settings.model))
    equipment = _equipment(settings, asked.tools)
    means = _means(policy, equipment.of(asked), settings, SolvingBudget(trajectories, calls, tokens, money))
    means = replace(means, reward=reward or _usual_reward(asked, judge), judge=judge, watch=watch, kept=kept)
    return _run(Solving(asked.samples[0], means), equipment, settings, interruptible)


def _asked(question: str | Sample, tools: Sequence[Tool], task: Task | None, run: Path | None) -> Task:
    """A task whose only question is this one; without a task, it tells the model what it was told in the run."""
    sample = question if isinstance(question, Sample) else Sample(question, id="question")
    if task is not None and tools:
        raise ValueError(f"task {task.name!r} brings its own tools: leave tools out")
    if not sample.question.strip():
        raise ValueError("the question is empty")
    if task is None:
        asked = Task("solve", [sample], tools, **told_by(run, tools))
    else:
        asked = replace(task, samples=[sample], held_out=())
    for name, environment in asked.environments.items():
        if not environment.sandboxed:
            _log.warning(
                "several trajectories act in environment %s: what their calls change outside of it, they change more "
                "than once (docs/environments.md; aepo.environment(..., sandboxed=True) if they change nothing there)",
                name,
            )
    return asked


def _usual_reward(asked: Task, judge: Ask | None) -> Reward | None:
    """The outcome that worlds give, if all of them give one and no judge chooses."""
    worlds = asked.environments.values()
    return outcome if judge is None and worlds and all(world.rewards for world in worlds) else None


def _equipment(settings: Config, tools: Sequence[Tool]) -> Equipment:
    warn_of_state(tools)
    equipment = equip(settings, tools)
    if equipment.store is not None and settings.tools.cache is None and not Path(settings.run).is_dir():
        raise configuration.ConfigError("results of tools are kept where you say: give tools.cache a file")
    return equipment


def _means(policy: LocalPolicy, task: Task, settings: Config, budget: SolvingBudget) -> Means:
    """The agent and its rules; nothing chooses the answer yet."""
    agent, _ = agents(policy, task, settings, task.samples)
    if settings.algorithm.needs_entropy and agent.generator.entropy_estimator == "none":
        raise ValueError(
            f"{settings.algorithm.name} branches by entropy, and this engine gives no log-probabilities: "
            "set algorithm.name=grpo for independent trajectories"
        )
    return Means(
        agent=agent,
        algorithm=settings.algorithm,
        state=settings.algorithm.exploration().initial_state(len(policy.tokenizer)),
        budget=budget,
        prices=SolvingPrices(settings.model.price.prompt or 0.0, settings.model.price.sampled or 0.0),
        rewards_at_once=settings.rewards.concurrency,
        seed=settings.seed,
    )


def _run(solving: Solving, equipment: Equipment, settings: Config, interruptible: bool) -> Solution:
    interrupt = solving.interrupt if interruptible else None
    with equipment.in_use(Path(settings.run)):
        return event_loop.run(_solve, solving, interrupted=interrupt)


async def _solve(solving: Solving) -> Solution:
    async with solving.means.agent.generator:
        return await solving.run()
