"""A trial: a few questions, asked with the real model and tools, tell what a step of training costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from aepo.config import Config, TrainConfig
from aepo.process import event_loop
from aepo.tasks.base import Task
from aepo.training.budget import Spent
from aepo.types import Group

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy
    from aepo.equipment.tools import Equipment
    from aepo.training.loop import Parts


@dataclass(frozen=True)
class Trial:
    """What a few questions came to.

    Attributes:
        groups: One a question.
        seconds: All of it took.
        scale: How many such trials one rollout of a step is; a step may make `algorithm.rounds` rollouts.
    """

    groups: Sequence[Group]
    seconds: float
    scale: float

    @property
    def spent(self) -> Spent:
        """What the trial used."""
        return Spent().after(self.groups)

    @property
    def stored(self) -> int:
        """Tokens of the trial's trees, prompts and results included."""
        return sum(group.tree.distinct_tokens() for group in self.groups)


def prepared(config: Config, task: Task) -> tuple[LocalPolicy, Parts, Equipment]:
    """Load what a trial works with. Its calls are not recorded; they are replayed where the run's are.

    Raises:
        ValueError: Something does not fit.
    """
    from aepo.assembly.parts import build
    from aepo.equipment.tools import equip

    equipment = equip(config, task.tools, "replay" if config.tools.mode == "replay" else "live")
    return *build(config, equipment.of(task)), equipment


def trial(config: Config, parts: Parts, equipment: Equipment, questions: int) -> Trial:
    """Ask the first questions of a run and score the answers. Nothing is trained and nothing is written.

    Args:
        config: The run's.
        parts: The parts that `prepared` built.
        equipment: Theirs; it is opened and closed.
        questions: How many are asked at most.
    """
    from aepo.rollout.explorer import Seeds, explore

    rules = config.algorithm.exploration()
    asked = list(parts.questions[:questions])
    state, seeds = rules.initial_state(parts.vocab_size), Seeds(config.seed, "trial")
    with equipment.in_use(Path(config.run)):
        began = time.perf_counter()
        groups = event_loop.run(explore, asked, parts.agent, rules, state, seeds, parts.scorer)
        took = time.perf_counter() - began
    return Trial(groups, took, config.rollout.questions / len(groups))


def cost_of_a_step(config: Config, found: Trial) -> str:
    """What a step uses and when the run will end, in a few lines.

    Args:
        config: The run's.
        found: Its trial.
    """
    rollout, train, rounds = config.rollout, config.train, config.algorithm.rounds
    group_size = config.algorithm.exploration().group_size
    trajectories = rollout.questions * group_size
    again = f", sampled up to {rounds} times" if rounds > 1 else ""
    most, spent = trajectories * rounds, found.spent
    return "\n".join(
        [
            f"a step, expected from a trial of {len(found.groups)} questions:",
            f"  trajectories    {trajectories} ({rollout.questions} questions x {group_size}{again})",
            f"  tokens sampled  {spent.tokens_sampled * found.scale:,.0f} (at most {most * rollout.max_tokens:,})",
            f"  tokens stored   {found.stored * found.scale:,.0f}, prompts and results included",
            f"  tool calls      {spent.executed_calls * found.scale:,.0f} (at most {most * rollout.max_tool_calls:,})",
            f"  optimizer steps {min(train.minibatches, rollout.questions) * train.epochs}",
            f"the run is expected to end after {steps_until_a_limit(train, spent, found.scale):,} steps",
        ]
    )


def steps_until_a_limit(train: TrainConfig, spent: Spent, scale: float) -> int:
    """Steps until the first of a run's limits is reached.

    Args:
        train: The limits.
        spent: What a trial used.
        scale: How many such trials a step is.
    """
    used = (
        (train.max_trajectories, spent.trajectories),
        (train.max_sampled_tokens, spent.tokens_sampled),
        (train.max_executed_calls, spent.executed_calls),
    )
    return min([train.steps, *(ceil(limit / (one * scale)) for limit, one in used if limit is not None and one)])
