"""Keeps a rollout open from step to step, so that training does not wait for the slowest groups (`rollout.overlap`).

A step trains as soon as all of its groups but a few have grown. Those few stay in the engine, which pauses while the
weights change. Their tools go on running, because the event loop has its own thread. In the next step the groups grow
further with the new weights, which read them again from the start. Each token keeps the log-probability under the
policy that sampled it, so its importance ratio is exact, even with two policies in one trajectory. The next step waits
for these groups, so no token is trained more than one step after it was sampled.

A sampler with its own device (`Sampler.alongside`) does not pause for training. Then a step waits for all of its
groups, and the first questions of the next step are asked before training begins. The engine pauses only while weights
are handed over. Here too no token is trained more than one step after it was sampled.

The last step of a run waits for all of its groups. A checkpoint has only the questions of unfinished groups, and a
resumed run asks them again in its first step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio

from aepo.algorithms.base import Algorithm
from aepo.core.exploration import ExplorationState
from aepo.process import event_loop
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Rollout, Seeds
from aepo.rollout.growing import Question, Scorer
from aepo.training.sampling import StepGroups
from aepo.types import Group, Sample


@contextmanager
def overlapping(
    agent: Agent,
    scorer: Scorer,
    algorithm: Algorithm,
    seed: int,
    overlap: int,
    alongside: bool = False,
    again: Sequence[Sample] = (),
) -> Iterator[OverlappedRollout]:
    """Keep a rollout open; leaving it cancels the unfinished groups.

    Args:
        agent: Grows paths. Its engine stays entered; other code may use the model between two steps.
        scorer: Scores trajectories.
        algorithm: Gives the rules of the rollout and says which groups are informative. Its `rounds` must be 1.
        seed: The run's seed.
        overlap: The number of groups that a step does not wait for. With `alongside` it is the number of questions of
            the next step that begin before training.
        alongside: Whether the engine samples while the policy is trained.
        again: Questions that an earlier process left unfinished; the first step asks them too.
    """
    rollout = OverlappedRollout(agent, scorer, algorithm, seed, overlap, alongside, again)
    with event_loop.entered(rollout.open()):
        yield rollout


@dataclass(frozen=True)
class Following:
    """The questions of the next step, and their entropy scales."""

    samples: Sequence[Sample]
    state: ExplorationState


class OverlappedRollout:
    """The rollout that `overlapping` keeps open. Between two steps its engine is paused, or goes on sampling."""

    def __init__(
        self,
        agent: Agent,
        scorer: Scorer,
        algorithm: Algorithm,
        seed: int,
        overlap: int,
        alongside: bool,
        again: Sequence[Sample],
    ) -> None:
        self.algorithm = algorithm
        self.seed, self.alongside, self.again = seed, alongside, list(again)
        self.leave, self.ahead = (0, overlap) if alongside else (overlap, 0)
        self.generator = agent.generator
        self.rollout = Rollout(agent, algorithm.exploration(), scorer, lambda: self.changed.set())
        self.changed = anyio.Event()
        self.asked: list[tuple[int, Question]] = []
        """The step and the question of every group that was not trained yet."""
        self.early: Sequence[Question] = []
        """Questions of the next step that were asked before the update of this one."""

    def step(
        self,
        samples: Sequence[Sample],
        state: ExplorationState,
        number: int,
        last: Callable[[Sequence[Group]], bool] = lambda groups: False,
        following: Callable[[StepGroups], Following] | None = None,
    ) -> StepGroups:
        """Ask a step's questions and wait for enough scored groups. Do not call it in the loop's own thread.

        Args:
            samples: The step's questions.
            state: The run's entropy scales; a group keeps the ones that it began with.
            number: The number of earlier steps.
            last: Whether this is the run's last step, which waits for all groups.
            following: Gives the next step's questions and entropy scales from the groups of this one; only with
                `alongside`.

        Raises:
            RolloutError: A tool has a bug.
            ValueError: A reward is not one finite number.
        """
        return event_loop.run(self._step, samples, state, number, last, following)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hold the engine and the growing groups."""
        async with self.generator, anyio.create_task_group() as self.rollout.tasks:
            self.generator.pause()
            yield
            self.rollout.tasks.cancel_scope.cancel()

    async def _step(
        self,
        samples: Sequence[Sample],
        state: ExplorationState,
        number: int,
        last: Callable[[Sequence[Group]], bool],
        following: Callable[[StepGroups], Following] | None,
    ) -> StepGroups:
        self._raise_failure()
        self.generator.resume()
        begun = sum(step == number for step, _ in self.asked)
        await self._ask([*self.again, *samples[begun:]], state, number, number)
        self.again = []
        await self._until(lambda: self._enough(number))
        if ends := last(self._grown()):
            await self._until(lambda: all(question.grown is not None for _, question in self.asked))
        taken = self._taken(self._grown(), number)
        if self.alongside and following is not None and not ends:
            after = following(taken)
            # The rest of the step may ask this question too, and must not get the same tokens.
            self.early = await self._ask(after.samples[: self.ahead], after.state, number + 1, f"{number + 1}/ahead")
        else:
            self.generator.pause()
        return taken

    async def _ask(
        self, samples: Sequence[Sample], state: ExplorationState, number: int, key: int | str
    ) -> Sequence[Question]:
        asked = await self.rollout.ask(samples, state, Seeds(self.seed, key))
        self.asked += [(number, question) for question in asked]
        return asked

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Send nothing to the engine inside the context. Do not enter it in the loop's own thread."""
        event_loop.run(self._set, True)
        try:
            yield
        finally:
            event_loop.run(self._set, False)

    async def _set(self, paused: bool) -> None:
        self.generator.pause() if paused else self.generator.resume()

    def _enough(self, number: int) -> bool:
        """Whether all groups of earlier steps have grown, and all but `leave` of this step."""
        growing = [step for step, question in self.asked if question.grown is None]
        return len(growing) <= self.leave and all(step == number for step in growing)

    def _grown(self) -> list[Group]:
        return [question.grown for _, question in self.asked if question.grown is not None]

    def _taken(self, groups: Sequence[Group], number: int) -> StepGroups:
        taken = {id(group) for group in groups}
        late = [question.grown for step, question in self.asked if step < number or question in self.early]
        self.early = []
        self.asked = [(step, question) for step, question in self.asked if id(question.grown) not in taken]
        kept = [group for group in groups if self.algorithm.informative(group.rewards)]
        dropped = [group for group in groups if not self.algorithm.informative(group.rewards)]
        if not kept:
            kept, dropped = dropped, []
        stale = sum(len(group.tree.leaves) for group in late if group is not None)
        trajectories = sum(len(group.tree.leaves) for group in groups)
        return StepGroups(kept, dropped, 1, [question.sample for _, question in self.asked], stale / trajectories)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._raise_failure()
            self.changed = anyio.Event()
            await self.changed.wait()

    def _raise_failure(self) -> None:
        if self.rollout.failure is not None:
            raise self.rollout.failure
