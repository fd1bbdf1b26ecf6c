"""Grows the group of one question: its paths, their sequences in the engine, the tree and the rewards.

`Spending` decides which paths begin (`spending.py` has the order of its decisions). Every path is a coroutine over one
batching engine, and the paths of all questions share the batch. Each event of a path has one method:

- `_begin`: a path begins when there is room, `_at_question`, or `_inside` another path, whose sequence is forked;
- `_shown`: a path has shown its entropy after an observation, and goes on;
- `_ended`: a path has ended and is scored; it gives back its room, but can be forked until the last one has ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TypeAlias

import anyio
from anyio.abc import TaskGroup

from aepo.environments.contract import Diverged
from aepo.environments.session import Session
from aepo.rollout.agent import Agent
from aepo.rollout.hindsight import before_call, call_entropy, call_probability
from aepo.rollout.path import Clock, Observation, Path
from aepo.rollout.room import QuestionRoom, Wave
from aepo.rollout.sequences import Sequences
from aepo.rollout.spending import Spending, Stage, Start
from aepo.rollout.worlds import Worlds
from aepo.tools.cache.layer import trajectory
from aepo.types import Group, Kind, Leaf, Origin, Sample, Trajectory, TrajectoryTree, flatten

Scorer: TypeAlias = Callable[[Trajectory], Awaitable[float]]
"""Gives the reward of an ended trajectory, one finite number."""


class PathLost(RuntimeError):
    """A path ended without a leaf or a reward, although it was not stopped."""


class Question:
    """One question and its growing group.

    Attributes:
        sample: The question.
        paths: All paths that have begun, by number.
        grown: The whole group; None before.
    """

    def __init__(
        self,
        sample: Sample,
        agent: Agent,
        spending: Spending,
        sequences: Sequences,
        room: QuestionRoom,
        scorer: Scorer | None,
    ) -> None:
        """Set the parts; `open` begins the first path.

        Args:
            sample: The question.
            agent: Grows paths.
            spending: Decides which paths begin, where and when.
            sequences: Its sequences in the engine.
            room: Its part in the engine's room, which has asked for its first path already.
            scorer: Scores each trajectory as soon as it has ended; None leaves the rewards unset.
        """
        self.sample, self.agent, self.spending = sample, agent, spending
        self.sequences, self.room, self.scorer = sequences, room, scorer
        self.worlds = None if agent.environment is None else Worlds(agent.environment, sample)
        self.tree = TrajectoryTree()
        self.paths: list[Path] = []
        self.grown: Group | None = None
        self._gone: set[tuple[int, int]] = set()
        self._early: list[tuple[Path, bool]] = []
        self._scored, self._whole = anyio.Event(), anyio.Event()
        self._tasks: TaskGroup | None = None

    def open(self) -> None:
        """Begin the first path, for which there must be room. The other first paths begin as soon as there is room."""
        opening = "" if self.worlds is None else self.worlds.opening
        self.tree.add(None, Kind.PROMPT, self.agent.prompt(self.sample, opening), 0)
        first, *others = self.spending.begin()
        self._begin(first)
        self._ask(others, Wave.FIRST)

    async def run(self) -> None:
        """Grow and score all k paths; then `grown` is set.

        Raises:
            ToolBug: A tool has a bug, and the agent's `on_tool_bug` is "stop".
            PathLost: A path was lost.
        """
        try:
            async with anyio.create_task_group() as self._tasks:
                for path, watched in self._early:
                    self._tasks.start_soon(self._grow, path, watched)
                await self._whole.wait()
        finally:
            self.room.forget()
            self.sequences.close()
            if self.worlds is not None:
                await self.worlds.close()
        group = self.group()
        self._check_whole(group)
        self.grown = group

    @property
    def leaves(self) -> list[Leaf]:
        """The leaves of the paths that have ended."""
        return [path.leaf for path in self.paths if path.leaf is not None]

    def group(self) -> Group:
        """The group so far."""
        self.tree.gap, self.tree.global_samples = self.spending.gap, self.spending.global_samples
        self.tree.leaves = self.leaves
        for (path, number), decision in self.spending.decisions.items():
            self.paths[path].observation(number).decision = decision
        return Group(self.sample, self.tree.in_path_order())

    def _check_whole(self, group: Group) -> None:
        # Training would take a smaller group for a complete one.
        leaves, size = group.tree.leaves, self.spending.rules.group_size
        if len(leaves) != size:
            raise PathLost(f"{len(leaves)} of {size} trajectories have ended, the others were lost")
        if self.scorer is not None and any(leaf.reward is None for leaf in leaves):
            raise PathLost("the reward of a trajectory was lost")

    def _ask(self, starts: list[Start], wave: Wave) -> None:
        for start in starts:
            self.room.ask(wave, partial(self._begin, start))

    def _begin(self, start: Start) -> None:
        path = self._at_question(start) if start.parent is None else self._inside(start, self.paths[start.parent])
        self.paths.append(path)
        if self._tasks is None:
            self._early.append((path, start.watched))
        else:
            self._tasks.start_soon(self._grow, path, start.watched)

    def _at_question(self, start: Start) -> Path:
        number, prompt = len(self.paths), self.tree.nodes[0]
        # The engine drops the keys and values of the youngest path last.
        if self.paths:
            sequence = self.sequences.fork(self.paths[-1].sequence, len(prompt.tokens), number)
        else:
            sequence = self.sequences.open(prompt.tokens)
        return Path(number, start.origin, sequence, prompt, len(prompt.tokens))

    def _inside(self, start: Start, parent: Path) -> Path:
        anew = start.origin is Origin.RESAMPLED
        if anew:
            observation = parent.observation(start.depth + 1)
            node, kept = before_call(self.tree, observation, self.agent.protocol, start.inside_call)
        else:
            node, kept = parent.observation(start.depth), []
        before, number = self.tree.walk(node.id), len(self.paths)
        return Path(
            id=number,
            origin=start.origin,
            sequence=self.sequences.fork(parent.sequence, sum(len(part.tokens) for part in before), number),
            node=node,
            prompt_length=parent.prompt_length,
            calls=sum(len(part.results) + (part.error is not None) for part in before),
            root_entropy=parent.root_entropy,
            parent=parent.id,
            depth=start.depth,
            kept=kept,
            clock=Clock(parent.seconds_at(start.depth + anew, before_calls=anew)),
        )

    async def _grow(self, path: Path, watched: bool) -> None:
        trajectory.set(f"{self.sequences.noise(path.id):x}")
        try:
            if self.worlds is None:
                await self.agent.grow(path, self.tree, self._shown if watched else None)
            else:
                await self._grow_in(self.worlds, path, watched)
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -inf:
                raise
            # A cancellation would end only this task, and tasks that wait for the path would wait for ever.
            raise PathLost(f"path {path.id} was cancelled inside the engine") from error
        await self._ended(path)

    async def _grow_in(self, worlds: Worlds, path: Path, watched: bool) -> None:
        """Grow a path in a world of its own, which is opened while the path's first turn is sampled."""
        path.keeps = watched or self.spending.rules.needs_rewards
        shown = self._shown if watched else None
        session = self._entered(worlds, path)
        try:
            await self.agent.grow(path, self.tree, shown)
        except Diverged as why:
            worlds.refuse(str(why))
            self._put_back(path, str(why))
            session = self._entered(worlds, path)
            await self.agent.grow(path, self.tree, shown)
        assert path.leaf is not None
        path.leaf.outcome, path.leaf.state = await session.end()
        await session.close()

    def _entered(self, worlds: Worlds, path: Path) -> Session:
        assert self._tasks is not None
        session = worlds.enter(path, self.tree.walk(path.node.id))
        session.hold()
        self._tasks.start_soon(session.open)
        return session

    def _put_back(self, path: Path, why: str) -> None:
        """Let a path begin at the question, because its world did not come to where the path should begin."""
        assert path.parent is not None
        path.node.refused = (*path.node.refused, why)
        self.spending.refused(path.id, path.parent, path.depth)
        prompt = self.tree.nodes[0]
        self.sequences.end(path.sequence)
        sequence = self.sequences.fork(self.sequences.first, len(prompt.tokens), path.id)
        again = Path(path.id, Origin.LEFTOVER, sequence, prompt, path.prompt_length, keeps=path.keeps)
        vars(path).update(vars(again))

    def _shown(self, observation: Observation) -> None:
        path = observation.path
        starts = self.spending.shown(path.id, observation.number, observation.entropy, path.root_entropy or 0.0)
        self._ask(starts, Wave.SECOND)
        self._let_go()

    def _let_go(self) -> None:
        """Let the kept states of worlds go that no path needs: those after observations without a branch."""
        if self.worlds is None or self.spending.rules.looks_back:
            return
        for (number, at), decision in self.spending.decisions.items():
            if not decision.branches and (number, at) not in self._gone:
                self._gone.add((number, at))
                path = self.paths[number]
                self.worlds.let_go(path, self.tree.walk(path.observation(at).id))

    async def _ended(self, path: Path) -> None:
        assert self._tasks is not None
        if self.scorer is not None:
            self._tasks.start_soon(self._score, path, self.scorer)
        self._ask(self.spending.ended(path.id), Wave.SECOND)
        self._let_go()
        if self.spending.stage is Stage.FILLING:
            await self._fill()
        # The path ends in the engine only after the next ones have asked for its room. A deterministic engine waits for
        # all growing sequences, so a question must have one until its group is whole.
        self.sequences.end(path.sequence)
        whole = self.spending.stage is Stage.WHOLE
        if whole:
            self.sequences.close()
            self._whole.set()
        self.room.leave(whole)

    async def _fill(self) -> None:
        """Begin the last paths, once the rewards and call entropies that the rules read are known."""
        rules = self.spending.rules
        while rules.needs_rewards and any(leaf.reward is None for leaf in self.leaves):
            self._scored = anyio.Event()
            await self._scored.wait()
        rewards = [leaf.reward if rules.needs_rewards else None for leaf in self.leaves]
        seen = [path.observations for path in self.paths]
        entropies: list[list[float | None]] = [[None] * len(own) for own in seen]
        if rules.needs_call_entropy:
            entropies = [[call_entropy(self.tree, one, self.agent.protocol) for one in own] for own in seen]
        probabilities: list[list[float | None]] | None = None
        if rules.needs_call_probability:
            probabilities = [[call_probability(self.tree, one, self.agent.protocol) for one in own] for own in seen]
        self._ask(self.spending.fill(entropies, rewards, probabilities), Wave.LAST)

    async def _score(self, path: Path, scorer: Scorer) -> None:
        assert path.leaf is not None
        path.leaf.reward = await scorer(flatten(self.sample, self.tree, path.leaf))
        self._scored.set()
