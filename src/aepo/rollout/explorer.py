"""Runs the questions of a rollout together, as far as the engine has room. The first failure stops all of them.

`room.py` decides which paths begin first, `growing.py` grows the group of one question, and `spending.py` has the order
of the question's decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from aepo.core.exploration import Exploration, ExplorationState
from aepo.core.noise import noise_key
from aepo.environments.base import Environment
from aepo.rollout.agent import Agent
from aepo.rollout.growing import PathLost, Question, Scorer
from aepo.rollout.room import QuestionRoom, Room, Wave
from aepo.rollout.sequences import Sequences
from aepo.rollout.spending import Spending
from aepo.rollout.worlds import know_opening
from aepo.tools.base import ToolBug
from aepo.types import Group, Sample, TrajectoryTree

E = TypeVar("E", bound=Exception)


class RolloutError(Exception):
    """A tool's bug or a lost path stopped a rollout.

    Attributes:
        group: The question and its tree so far, with leaves only for ended paths.
        bug: The cause.
    """

    def __init__(self, group: Group, bug: ToolBug | PathLost) -> None:
        """Keep the group and the cause."""
        super().__init__(f"sample {group.sample.id!r}: {bug}")
        self.group, self.bug = group, bug

    @property
    def original(self) -> BaseException:
        """The exception that was raised first."""
        return self.bug.original if isinstance(self.bug, ToolBug) else self.bug


@dataclass(frozen=True)
class Seeds:
    """Parts of all random keys of a rollout, besides question and path.

    Attributes:
        run: The run's seed.
        step: The training step, or a name such as "test".
    """

    run: int
    step: int | str


async def explore(
    samples: Sequence[Sample],
    agent: Agent,
    exploration: Exploration,
    state: ExplorationState,
    seeds: Seeds,
    scorer: Scorer | None = None,
) -> list[Group]:
    """Sample one group per question, at the same time as far as the engine has room.

    Args:
        samples: The questions.
        agent: Grows paths.
        exploration: The algorithm's rules.
        state: The run's entropy scales; not changed.
        seeds: Parts of the random keys.
        scorer: Scores each trajectory as soon as it has ended; None leaves the rewards unset.

    Returns:
        One group per question, in order, each with exactly k leaves.

    Raises:
        RolloutError: A tool has a bug, or a path was lost.
        ValueError: The engine has too little room, or the rules need rewards or entropies that are missing.
        Exception: The scorer raised it.
    """
    rollout = Rollout(agent, exploration, scorer)
    async with agent.generator, anyio.create_task_group() as rollout.tasks:
        asked = await rollout.ask(samples, state, seeds)
    if rollout.failure is not None:
        raise rollout.failure
    return [question.grown for question in asked if question.grown is not None]


class Rollout:
    """Grows questions together, as far as the engine has room; more can be added while others grow.

    `ended` is called whenever a group has grown or failed. The first failure cancels all groups.

    Attributes:
        tasks: The task group that runs them. Set it, and enter the engine, before the first `ask`.
        failure: Why the rollout stopped; None if it has not.

    Raises:
        ValueError: As in `explore`.
    """

    tasks: TaskGroup

    def __init__(
        self,
        agent: Agent,
        exploration: Exploration,
        scorer: Scorer | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        generator, size = agent.generator, exploration.group_size
        if exploration.needs_rewards and scorer is None:
            raise ValueError("the rules of this rollout need rewards: give explore a scorer")
        worlds = min((made.max_open for made in agent.environments), default=generator.max_sequences)
        if generator.deterministic and (room := min(generator.max_sequences, worlds)) < size:
            what = "max_sequences" if worlds >= generator.max_sequences else "max_open of the environment"
            raise ValueError(
                f"a deterministic engine grows whole groups of {size} sequences, and there is room for {room}; "
                f"raise {what}"
            )
        reads = exploration.watches or exploration.probes > 0 or exploration.needs_call_entropy
        if reads and generator.entropy_estimator == "none":
            raise ValueError("the rules of this rollout read token entropies, and the engine gives none")
        self.agent, self.exploration, self.scorer, self.ended = agent, exploration, scorer, ended
        # A path that begins has room for its world, too.
        self.room = Room(min(generator.max_sequences, worlds), size if generator.deterministic else None)
        self.failure: Exception | None = None
        self._asks, self._numbers = count(), count()

    async def ask(self, samples: Sequence[Sample], state: ExplorationState, seeds: Seeds) -> list[Question]:
        """Begin one group per question as soon as there is room; arguments as in `explore`.

        The openings of their worlds are asked for first. If that fails, there are no questions.
        """
        try:
            await self._know_openings(samples)
        except* Exception as errors:
            self._fail(_first(errors))
        if self.failure is not None:
            return []
        return self._ask(samples, state, seeds)

    async def _know_openings(self, samples: Sequence[Sample]) -> None:
        places = {id(made): anyio.CapacityLimiter(made.max_open) for made in self.agent.environments}

        async def know(sample: Sample, environment: Environment) -> None:
            async with places[id(environment)]:
                try:
                    await know_opening(environment, sample)
                except ToolBug as bug:
                    raise RolloutError(Group(sample, TrajectoryTree()), bug) from bug

        async with anyio.create_task_group() as tasks:
            for sample in {sample.id: sample for sample in samples}.values():
                if (environment := self.agent.of(sample).environment) is not None:
                    tasks.start_soon(know, sample, environment)

    def _ask(self, samples: Sequence[Sample], state: ExplorationState, seeds: Seeds) -> list[Question]:
        repeats: Counter[str] = Counter()
        at = next(self._asks)
        asked: list[Question] = []
        for sample in samples:
            # The number keeps a question that a step asks twice from getting the same tokens twice.
            name = f"{sample.id}#{repeats[sample.id]}" if repeats[sample.id] else sample.id
            repeats[sample.id] += 1
            noise = partial(noise_key, seeds.run, seeds.step, name)
            spending = Spending(self.exploration, state, noise)
            agent, room = self.agent.of(sample), QuestionRoom(self.room, at, next(self._numbers))
            question = Question(sample, agent, spending, Sequences(agent.generator, noise), room, self.scorer)
            asked.append(question)
            room.ask(Wave.FIRST, partial(self._start, question))
        return asked

    def _start(self, question: Question) -> None:
        try:
            question.open()
        except Exception as error:
            self._fail(error)
        else:
            self.tasks.start_soon(self._grow, question)

    async def _grow(self, question: Question) -> None:
        try:
            await question.run()
            self.ended()
        except* (ToolBug, PathLost) as bugs:
            error = RolloutError(question.group(), _first(bugs))
            error.__cause__ = _first(bugs)
            self._fail(error)
        except* Exception as errors:
            self._fail(_first(errors))

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self.tasks.cancel_scope.cancel()
        self.ended()


def executed_calls(tree: TrajectoryTree) -> int:
    """The number of executed tool calls; a call on a shared prefix counts once."""
    return sum(result.executed for node in tree.nodes for result in node.results)


def _first(errors: ExceptionGroup[E]) -> E:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
