"""One group: which paths of a question start, where and when (spec 3).

The rules come from the algorithm's `Exploration`; here they are carried out. There are no waves: every path is a
coroutine over one batching engine, a path never waits for a decision, and the paths of all questions share the batch.
Only the start of branches waits, until all paths of its own question have shown the entropy that it is decided by; and
that of restarts and left-overs, until all of them have ended. A path is scored as soon as it has ended, while others
grow.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from math import inf
from typing import TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from aepo.core.exploration import Candidate, Ended, Exploration, ExplorationState, Restart, Step
from aepo.core.noise import noise_key, uniform
from aepo.rollout.agent import Agent, Observation, Path
from aepo.rollout.hindsight import before_call, call_entropy, own_observations
from aepo.tools.base import ToolBug
from aepo.tools.cache.layer import trajectory
from aepo.types import Group, Kind, Node, Origin, Sample, Trajectory, TrajectoryTree, flatten

E = TypeVar("E", bound=Exception)

Scorer: TypeAlias = Callable[[Trajectory], Awaitable[float]]
"""Gives a trajectory that has ended its reward, one finite number."""


class PathLost(RuntimeError):
    """A path ended without a leaf or a reward, although nobody stopped it."""


class RolloutError(Exception):
    """A rollout that a tool's bug or a lost path stopped.

    Attributes:
        group: The question with what was sampled so far; its tree has leaves only where paths had ended.
        bug: What happened.
    """

    def __init__(self, group: Group, bug: ToolBug | PathLost) -> None:
        """Keep both for the report."""
        super().__init__(f"sample {group.sample.id!r}: {bug}")
        self.group, self.bug = group, bug

    @property
    def original(self) -> BaseException:
        """What was raised first."""
        return self.bug.original if isinstance(self.bug, ToolBug) else self.bug


@dataclass(frozen=True)
class Seeds:
    """What the chance of a rollout is keyed by, beside question and path (spec 3.2).

    Attributes:
        run: The run's seed.
        step: The training step, or a name such as "test".
    """

    run: int
    step: int | str


async def explore(
    samples: Items[Sample],
    agent: Agent,
    exploration: Exploration,
    state: ExplorationState,
    seeds: Seeds,
    scorer: Scorer | None = None,
) -> list[Group]:
    """Sample one group per question, all at once as far as the engine has room.

    Args:
        samples: The questions.
        agent: How a path grows.
        exploration: The algorithm's rules.
        state: The run's entropy scales; unchanged here.
        seeds: Keys of all chance.
        scorer: Asked about every trajectory as soon as it has ended; None leaves all leaves without a reward.

    Returns:
        One group a question, in order, each with exactly k leaves.

    Raises:
        RolloutError: A tool has a bug, or a path was lost.
        ValueError: The engine has no room for one group, or the rules need rewards or entropies and there are none.
        Exception: Whatever the scorer raises.
    """
    rollout = Rollout(agent, exploration, scorer)
    async with agent.generator, anyio.create_task_group() as rollout.tasks:
        asked = rollout.ask(samples, state, seeds)
    if rollout.failure is not None:
        raise rollout.failure
    return [question.grown for question in asked if question.grown is not None]


class Rollout:
    """Questions that grow together, as far as the engine has room; more can be asked while others grow.

    `ended` is called whenever a group has grown or failed. The first failure cancels everybody.

    Attributes:
        tasks: Runs them; to be set, with the engine entered, before anything is asked.
        failure: Why it stopped; None while all goes well.

    Raises:
        ValueError: As `explore`.
    """

    tasks: TaskGroup

    def __init__(
        self,
        agent: Agent,
        exploration: Exploration,
        scorer: Scorer | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        room, size = agent.generator.max_sequences, exploration.group_size
        if exploration.needs_rewards and scorer is None:
            raise ValueError("the rules of this rollout need rewards: give explore a scorer")
        if room < size:
            raise ValueError(f"the engine holds {room} sequences, a group needs {size}; raise max_sequences")
        reads = exploration.watches or exploration.probes > 0 or exploration.needs_call_entropy
        if reads and agent.generator.entropy_estimator == "none":
            raise ValueError("the rules of this rollout read token entropies, and the engine gives none")
        self.agent, self.exploration, self.scorer, self.ended = agent, exploration, scorer, ended
        self.free = room // size
        self.waiting: deque[Question] = deque()
        self.failure: Exception | None = None

    def ask(self, samples: Items[Sample], state: ExplorationState, seeds: Seeds) -> list[Question]:
        """Begin one group a question, or let it wait for room; the arguments are those of `explore`."""
        # A question that is asked twice in a step must not be answered twice the same.
        repeats: Counter[str] = Counter()
        asked: list[Question] = []
        for sample in samples:
            repeat, done = repeats[sample.id], self._leave
            asked.append(Question(sample, self.agent, self.exploration, state, seeds, self.scorer, repeat, done))
            repeats[sample.id] += 1
        self.waiting += asked
        while self.waiting and self.free:
            self._start_next()
        return asked

    # Room passes on at once, between two calls of the model: which calls a question takes part in must not depend on
    # who was waiting for what.
    def _leave(self) -> None:
        self.free += 1
        if self.waiting:
            self._start_next()

    def _start_next(self) -> None:
        self.free -= 1
        question = self.waiting.popleft()
        try:
            question.open()
        except Exception as error:
            self._fail(error)
        else:
            self.tasks.start_soon(self._grow, question)

    async def _grow(self, question: Question) -> None:
        try:
            grown = await question.run()
            question.check_whole(grown)
            question.grown = grown
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


class Question:
    """The growing group of one question; `grown` once it is whole.

    `repeat` numbers those of one step that ask the same; `done` is called once the group has left the engine.
    """

    def __init__(
        self,
        sample: Sample,
        agent: Agent,
        exploration: Exploration,
        state: ExplorationState,
        seeds: Seeds,
        scorer: Scorer | None = None,
        repeat: int = 0,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self.scorer, self.repeat, self.done = scorer, repeat, done
        self.sample, self.agent, self.exploration, self.state, self.seeds = sample, agent, exploration, state, seeds
        self.generator = agent.generator
        self.tree = TrajectoryTree()
        self.paths: list[Path] = []
        self.observations: dict[int, list[Observation]] = defaultdict(list)
        self.size = exploration.group_size
        self.global_samples: int | None = None
        self.used = 0
        self.decided = 0
        self.filled = False
        self.closed = False
        self.grown: Group | None = None
        self.scored = anyio.Event()
        self.tasks: TaskGroup

    def open(self) -> None:
        """Take room in the engine."""
        self.prompt = self.agent.protocol.prompt(self.sample.question)
        self.tree.add(None, Kind.PROMPT, self.prompt, 0)
        self.root = self.generator.open(self.prompt, self._noise(0))

    async def run(self) -> Group:
        """Grow all k paths, and score them."""
        try:
            async with anyio.create_task_group() as self.tasks:
                probes = self.exploration.probes
                for number in range(self.exploration.head_start()):
                    self._start_at_question(Origin.PROBE if number < probes else Origin.GLOBAL)
                self._advance()
        finally:
            self._close()
        return self.group()

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            for path in self.paths:
                self.generator.close(path.sequence)

    def group(self) -> Group:
        """What there is of the group."""
        self.tree.global_samples = self.global_samples or 0
        self.tree.leaves = [path.leaf for path in self.paths if path.leaf is not None]
        return Group(self.sample, self.tree.in_path_order())

    def check_whole(self, group: Group) -> None:
        """A smaller group would be trained on as if it were one.

        Raises:
            PathLost: There are not k leaves, or one has no reward.
        """
        leaves = group.tree.leaves
        if len(leaves) != self.size:
            raise PathLost(f"{len(leaves)} of {self.size} trajectories have ended, the others were lost")
        if self.scorer is not None and any(leaf.reward is None for leaf in leaves):
            raise PathLost("the reward of a trajectory was lost")

    def _start_at_question(self, origin: Origin) -> None:
        number = len(self.paths)
        sequence = self.root if number == 0 else self.generator.fork(self.root, len(self.prompt), self._noise(number))
        self._start(Path(number, origin, sequence, self.tree.nodes[0], len(self.prompt)))

    def _start_inside(self, origin: Origin, parent: Path, node: Node, calls: int, kept: Items[int] = ()) -> None:
        """Start a path after `node` of `parent`, where `calls` calls had been made; `kept` as in `Path`."""
        number = len(self.paths)
        length = sum(len(part.tokens) for part in self.tree.walk(node.id))
        self._start(
            Path(
                id=number,
                origin=origin,
                sequence=self.generator.fork(parent.sequence, length, self._noise(number)),
                node=node,
                prompt_length=len(self.prompt),
                calls=calls,
                root_entropy=parent.root_entropy,
                consecutive=parent.consecutive,
                parent=parent.id,
                depth=calls,
                observed=calls,
                kept=kept,
            )
        )

    def _start(self, path: Path) -> None:
        self.paths.append(path)
        self.tasks.start_soon(self._grow, path)

    async def _grow(self, path: Path) -> None:
        # Who fills the last slots leaves none to branch into. Probes are asked for their gap in any case.
        trajectory.set(f"{self._noise(path.id):x}")
        watched = (self.exploration.watches and not self.filled) or path.origin is Origin.PROBE
        try:
            await self.agent.grow(path, self.tree, self._peeked if watched else None)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            # In a task group it would end this path only, and those who wait for it would wait for ever.
            raise PathLost(f"path {path.id} was cancelled inside the engine") from error
        if self.scorer is not None:
            self.tasks.start_soon(self._score, path, self.scorer)
        self._advance()
        if self._all_ended():
            # The last path is held until its successors are there: an engine that waits for all who are not ended
            # must not meet a question between two waves.
            await self._fill()
        self.generator.end(path.sequence)
        if self._all_ended():
            self._close()
            self.done()

    def _all_ended(self) -> bool:
        return all(path.leaf is not None for path in self.paths)

    def _peeked(self, observation: Observation) -> None:
        self.observations[observation.number].append(observation)
        self._advance()

    def _advance(self) -> None:
        """Take every decision that is due. Called whenever a path has ended or shown an entropy."""
        if self.global_samples is None and not self._budget():
            return
        while self._due(self.decided + 1):
            self.decided += 1
            self._decide(self.decided)

    def _budget(self) -> bool:
        """Fix m once all probes have ended, and start what is still missing of it."""
        probes = self.paths[: self.exploration.probes]
        if any(path.leaf is None for path in probes):
            return False
        if probes:
            self.tree.gap = sum(self._gap(path) for path in probes) / len(probes)
        self.global_samples = self.exploration.global_samples(self.tree.gap, self.state)
        for _ in range(self.global_samples - len(self.paths)):
            self._start_at_question(Origin.GLOBAL)
        return True

    def _gap(self, probe: Path) -> float:
        """H_root - mean H_tool of a probe; 0 if it called no tool (spec 3.1)."""
        after = [o.entropy for seen in self.observations.values() for o in seen if o.path is probe]
        return (probe.root_entropy or 0.0) - sum(after) / len(after) if after else 0.0

    def _due(self, number: int) -> bool:
        """Whether all paths have shown their entropy after observation `number`, or ended before it."""
        return bool(self.observations[number]) and all(p.leaf is not None or p.observed >= number for p in self.paths)

    def _decide(self, number: int) -> None:
        assert self.global_samples is not None
        observations = sorted(self.observations[number], key=lambda o: o.path.id)
        candidates = [
            Candidate(
                path=o.path.id,
                entropy=o.entropy,
                root_entropy=o.path.root_entropy or 0.0,
                consecutive=o.path.consecutive,
                uniform=uniform(self._noise(o.path.id), -number),
            )
            for o in observations
        ]
        decisions = self.exploration.decide(
            candidates,
            number,
            self.used,
            self.size - self.global_samples,
            # What other paths have observed by now depends on how fast their tools are.
            self._mean_observations(self.paths[: self.exploration.probes]),
            self.state,
        )
        for observation, decision in zip(observations, decisions, strict=True):
            observation.node.decision = decision
            observation.path.consecutive = observation.path.consecutive + 1 if decision.branches else 0
            for _ in range(decision.branches):
                self._start_inside(Origin.BRANCH, observation.path, observation.node, number)
            self.used += decision.branches

    async def _fill(self) -> None:
        """Start all that is missing, once all paths have ended: where the rules say, the rest at the question."""
        slots = self.size - len(self.paths)
        self.filled = True
        if slots == 0:
            return
        if self.exploration.needs_rewards:
            await self._all_scored()
        ended = [self._ended(path) for path in self.paths]
        for restart in self.exploration.restarts(ended, slots, self._mean_observations(self.paths)):
            self._restart(restart)
        for _ in range(self.size - len(self.paths)):
            self._start_at_question(Origin.LEFTOVER)

    async def _score(self, path: Path, scorer: Scorer) -> None:
        assert path.leaf is not None
        path.leaf.reward = await scorer(flatten(self.sample, self.tree, path.leaf))
        self.scored.set()

    async def _all_scored(self) -> None:
        while any(path.leaf is not None and path.leaf.reward is None for path in self.paths):
            self.scored = anyio.Event()
            await self.scored.wait()

    def _ended(self, path: Path) -> Ended:
        """What the rules are told of a path that has ended."""
        assert path.leaf is not None
        steps = [
            Step(
                call=number,
                uniform=uniform(self._noise(path.id), -number),
                decision=observation.decision,
                call_entropy=(
                    call_entropy(self.tree, observation, self.agent.protocol)
                    if self.exploration.needs_call_entropy
                    else None
                ),
            )
            for number, observation in enumerate(own_observations(self.tree, path.id), path.depth + 1)
        ]
        return Ended(path.id, steps, path.leaf.reward)

    def _restart(self, restart: Restart) -> None:
        """Start a path inside one that has ended."""
        path = self.paths[restart.path]
        observation = own_observations(self.tree, path.id)[restart.call - path.depth - 1]
        if restart.before_call:
            node, kept = before_call(self.tree, observation, self.agent.protocol)
            self._start_inside(Origin.RESAMPLED, path, node, restart.call - 1, kept)
            return
        if observation.decision is not None:
            branches = observation.decision.branches + 1
            observation.decision = replace(observation.decision, branches=branches, stopped_by=None)
        self._start_inside(Origin.BRANCH, path, observation, restart.call)

    def _mean_observations(self, ended: Items[Path]) -> float:
        """T; in the first step of a run, which has no mean yet, that of `ended`, and 1 without them."""
        if self.state.mean_observations is not None:
            return max(1.0, self.state.mean_observations)
        return max(1.0, sum(path.observed for path in ended) / max(1, len(ended)))

    def _noise(self, path: int) -> int:
        name = f"{self.sample.id}#{self.repeat}" if self.repeat else self.sample.id
        return noise_key(self.seeds.run, self.seeds.step, name, path)


def executed_calls(tree: TrajectoryTree) -> int:
    """Tool calls that really ran; one on a shared prefix counts once."""
    return sum(node.result is not None and node.result.executed for node in tree.nodes)


def _first(errors: ExceptionGroup[E]) -> E:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
