"""Samples the groups of a step, and replaces groups that are not informative.

All random numbers are keyed by (seed, step, round), so a repeated step asks the same questions.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import cycle, islice
from typing import TypeAlias

from aepo.algorithms.base import Algorithm
from aepo.core.exploration import ExplorationState
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.growing import Scorer
from aepo.types import Group, Sample

Instructed: TypeAlias = Callable[[Sequence[Sample], int | str], Sequence[Sample]]
"""Gives the questions of a step, or of a round of it, the instructions that they are asked under."""


@dataclass(frozen=True)
class StepGroups:
    """The groups that a step sampled.

    Attributes:
        kept: The groups to train on.
        dropped: The groups that are not informative; they were sampled and scored too.
        rounds: The number of sampling rounds.
        left: The questions whose groups are trained in the next step (`aepo.training.overlap`).
        stale_share: The share of trajectories from groups that began in the step before; None without overlap.
    """

    kept: list[Group]
    dropped: list[Group]
    rounds: int
    left: list[Sample] = field(default_factory=list)
    stale_share: float | None = None

    @property
    def sampled(self) -> list[Group]:
        """Kept and dropped groups."""
        return self.kept + self.dropped

    def metrics(self) -> dict[str, float]:
        """The step's metrics of sampling."""
        metrics = {"sampling/rounds": float(self.rounds), "sampling/dropped_groups": float(len(self.dropped))}
        if self.stale_share is not None:
            metrics |= {"overlap/stale_share": self.stale_share, "overlap/left_groups": float(len(self.left))}
        return metrics


async def sample_step(
    questions: Sequence[Sample],
    count: int,
    agent: Agent,
    scorer: Scorer,
    algorithm: Algorithm,
    state: ExplorationState,
    seed: int,
    step: int,
    instructed: Instructed = lambda samples, _: samples,
) -> StepGroups:
    """Sample and score `count` groups that a step trains on; arguments and errors as of `sample_groups`."""
    samples = step_questions(questions, count, seed, step)
    return await sample_groups(samples, questions, agent, scorer, algorithm, state, seed, step, instructed)


async def sample_groups(
    samples: Sequence[Sample],
    questions: Sequence[Sample],
    agent: Agent,
    scorer: Scorer,
    algorithm: Algorithm,
    state: ExplorationState,
    seed: int,
    step: int,
    instructed: Instructed = lambda samples, _: samples,
) -> StepGroups:
    """Sample and score one group for each of a step's questions.

    A group that is not informative is replaced by one of another question, for at most `algorithm.rounds` rounds. After
    the last round the step goes on with the groups that it has. If it has none, it keeps those of the first round.

    Args:
        samples: The step's questions.
        questions: The questions that replace others.
        agent: Grows paths.
        scorer: Scores trajectories.
        algorithm: Gives the rules of the rollout and says which groups are informative.
        state: The run's entropy scales; they do not change here.
        seed: The run's seed.
        step: The number of earlier steps.
        instructed: Gives the questions of each round their instructions.

    Raises:
        RolloutError: A tool has a bug.
        ValueError: A reward is not one finite number, or the engine has no room for one group.
    """
    kept: list[Group] = []
    dropped: list[Group] = []
    asked: Counter[str] = Counter()
    count = len(samples)
    rules = algorithm.exploration()
    for rounds in range(1, algorithm.rounds + 1):
        # The round number keeps a question that is asked again from getting the same tokens.
        seeds = Seeds(seed, step if rounds == 1 else f"{step}/{rounds}")
        groups = await explore(instructed(samples, seeds.step), agent, rules, state, seeds, scorer)
        for group in groups:
            (kept if algorithm.informative(group.rewards) else dropped).append(group)
        if len(kept) == count:
            break
        asked.update(sample.id for sample in samples)
        samples = other_questions(questions, count - len(kept), asked, seed, step, rounds)
    if not kept:
        kept, dropped = dropped[:count], dropped[count:]
    return StepGroups(kept, dropped, rounds)


def step_questions(questions: Sequence[Sample], count: int, seed: int, step: int) -> list[Sample]:
    """The questions of a step. The run passes over all questions again and again, each time in another order."""
    return [_place(questions, number, seed) for number in range(step * count, (step + 1) * count)]


def other_questions(
    questions: Sequence[Sample], count: int, asked: Counter[str], seed: int, step: int, rounds: int
) -> list[Sample]:
    """Questions for one more round: those that the step has asked least often, at random among equals.

    Args:
        questions: The questions to choose from.
        count: Number of questions.
        asked: How often the step has asked each question, by id.
        seed: The run's seed.
        step: Number of earlier steps.
        rounds: Number of earlier rounds of the step.
    """
    order = list(questions)
    random.Random(f"replacements {seed} {step} {rounds}").shuffle(order)
    order.sort(key=lambda sample: asked[sample.id])
    return list(islice(cycle(order), count))


def _place(questions: Sequence[Sample], number: int, seed: int) -> Sample:
    return questions[_order(len(questions), seed, number // len(questions))[number % len(questions)]]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, times: int) -> Sequence[int]:
    """The order of the questions in a pass."""
    order = list(range(count))
    random.Random(f"questions {seed} {times}").shuffle(order)
    return order
