"""Grows one path: the policy's turns and the tools' results, until it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import anyio

from aepo.core.scale import segment_entropy
from aepo.environments.base import Environment
from aepo.rollout.chat.base import ChatProtocol, ParsedTurn
from aepo.rollout.fitting import fitted
from aepo.rollout.generator import Generator, Sampled
from aepo.rollout.parts import joined, sample_until
from aepo.rollout.path import Limits, Observation, Path
from aepo.rollout.together import OnToolBug, Repeat, run_together
from aepo.tools.base import Tool, ToolBug
from aepo.types import Kind, Leaf, Node, Sample, StopReason, ToolResult, ToolStatus, TrajectoryTree

OnFormatError = Literal["end", "tell"]
_UNKNOWN = {ToolStatus.TIMEOUT, ToolStatus.BUG, ToolStatus.LOST}
"""After these nobody knows the state of a world."""
_STOPPED = "stopped: the time of the trajectory was over"


def asked(sample: Sample, opening: str) -> str:
    """The text of a question in a prompt, with the opening of its world under it."""
    return f"{sample.question}\n{opening}" if opening else sample.question


class Agent:
    """Grows the paths of all questions of a rollout.

    Args:
        generator: The engine; it must be entered.
        protocol: The chat protocol, which reads turns and writes results.
        tools: The tools by name.
        limits: The limits of a trajectory.
        window: W, the number of tokens of a segment entropy.
        entropy_scale: "reference" sums the ten likeliest terms; the others average the full entropy.
        on_tool_bug: "stop" stops the run at a tool's bug; otherwise the model is told.
        repeat: Whether a call that the trajectory has made before is run again or gets the earlier result
            (`run_together`).
        on_format_error: Whether a turn that breaks the protocol ends its trajectory, or the model is told and goes on.
            If it goes on, the turn counts as a call, and its tokens are not trained.
        environment: Makes the world of each trajectory; None without.
        keep_states: Keep the world's state after each result, for the viewer.
        instruction: The text above the system text of a question that names none.

    Raises:
        ValueError: Seconds are limited, but the engine is deterministic.
    """

    def __init__(
        self,
        generator: Generator,
        protocol: ChatProtocol,
        tools: Mapping[str, Tool],
        limits: Limits,
        window: int = 20,
        entropy_scale: str = "running",
        on_tool_bug: OnToolBug = "stop",
        repeat: Repeat = "run",
        on_format_error: OnFormatError = "end",
        environment: Environment | None = None,
        keep_states: bool = False,
        instruction: str = "",
    ) -> None:
        if limits.max_seconds is not None and generator.deterministic:
            raise ValueError("a limit on seconds makes trajectories depend on speed: a deterministic engine refuses it")
        self.generator, self.protocol, self.tools, self.limits = generator, protocol, tools, limits
        self.window, self.entropy_scale, self.on_tool_bug = window, entropy_scale, on_tool_bug
        self.repeat, self.on_format_error, self.environment = repeat, on_format_error, environment
        self.keep_states, self.instruction = keep_states, instruction
        self.by_environment: Mapping[str, Agent] = {}
        """For a task of several environments: the agents by the environment that a sample names."""

    @property
    def environments(self) -> list[Environment]:
        """All environments of the task."""
        made = [agent.environment for agent in (self, *self.by_environment.values())]
        return [environment for environment in made if environment is not None]

    def of(self, sample: Sample) -> Agent:
        """The agent for a question: with the tools and the prompt of its environment."""
        return self.by_environment.get(sample.metadata.get("environment", ""), self)

    def prompt(self, sample: Sample, opening: str) -> list[int]:
        """The prompt of a question, with the opening of its world under it.

        Raises:
            ValueError: The opening is too long.
        """
        told = self.instruction if sample.instruction is None else sample.instruction
        prompt = self.protocol.prompt(sample.question, told)
        if not opening:
            return prompt
        whole, most = self.protocol.prompt(asked(sample, opening), told), self.limits.max_opening_tokens
        if len(whole) - len(prompt) > most:
            raise ValueError(
                f"the opening of sample {sample.id!r} has {len(whole) - len(prompt)} tokens, and {most} are allowed: "
                "raise rollout.max_opening_tokens"
            )
        return whole

    async def grow(self, path: Path, tree: TrajectoryTree, peek: Callable[[Observation], None] | None = None) -> None:
        """Grow `path` until it ends; then `path.leaf` is set.

        Args:
            path: A path at the question, right after an observation, or inside a turn with `kept` set.
            tree: Receives the path's nodes.
            peek: Called after each of the path's own observations, once the next W tokens are sampled. The path goes on
                without waiting. None if no path will branch.

        Raises:
            ToolBug: A tool has a bug, and `on_tool_bug` is "stop".
            Diverged: The world did not come to where the path begins; nothing was written to the tree.
        """
        observation: Node | None = None
        kept = list(path.kept)
        while True:
            sampled = await self._turn(path, observation, peek)
            if path.session is not None:
                await path.session.ready()
            turn, kept = kept + sampled.tokens, []
            parsed = self.protocol.parse(turn) if sampled.stopped else ParsedTurn()
            path.node = self._write(tree, path, sampled, parsed)
            if parsed.error is not None and self._tell(tree, path, parsed.error, turn):
                observation = None
                continue
            if not parsed.calls or path.calls + len(parsed.calls) > self.limits.max_tool_calls or self._over(path):
                return self._end(path, self._reason(path, sampled, parsed), parsed)
            missed = await self._observe(tree, path, parsed, turn)
            if missed is not None:
                return self._end(path, missed, ParsedTurn())
            observation = path.node

    async def _observe(
        self, tree: TrajectoryTree, path: Path, parsed: ParsedTurn, turn: Sequence[int]
    ) -> StopReason | None:
        """Run the calls of a turn and write their results, cut if they do not fit.

        Results that the model will not see are kept without tokens, because the calls were made and count: results for
        which there is no room, and those after which nothing more can be done. Then the method returns the reason.
        """
        made = path.clock.seconds
        results = await self._results(tree, path)
        path.calls += len(parsed.calls)
        node = path.node = tree.add(path.node.id, Kind.OBSERVATION, [], path.id)
        path.observations.append(node)
        path.clock.answered(made)
        if results is None:
            node.results = (ToolResult(_STOPPED, ToolStatus.TIMEOUT, path.clock.seconds - made),) * len(parsed.calls)
            return StopReason.TIME
        node.results = results
        if (ends := self._ends(parsed, results)) is not None:
            return ends
        if self.keep_states and path.session is not None:
            node.state = await path.session.look()
            if path.session.lost:
                return StopReason.LOST
        write = partial(self.protocol.observation, calls=parsed.calls, turn=turn)
        shown = fitted(write, results, self._room(path), self.limits.max_tokens)
        if shown is None:
            return StopReason.LENGTH
        node.results, node.tokens = shown
        self.generator.extend(path.sequence, node.tokens)
        if path.session is not None and path.keeps:
            await path.session.keep()
        return None

    def _ends(self, parsed: ParsedTurn, results: Sequence[ToolResult]) -> StopReason | None:
        """Why the world's results end the trajectory; None if they do not."""
        asked = zip(parsed.calls, results, strict=True)
        of_world = {r.status for call, r in asked if call.name in self.tools and self.tools[call.name].environment}
        if of_world & _UNKNOWN:
            return StopReason.LOST
        return StopReason.DONE if ToolStatus.DONE in of_world else None

    async def _results(self, tree: TrajectoryTree, path: Path) -> tuple[ToolResult, ...] | None:
        """The results of the calls of the turn that has just ended; None if they did not come in time."""
        walk, limit = tree.walk(path.node.id), self.limits.max_seconds
        try:
            with anyio.move_on_after(None if limit is None else limit - path.clock.seconds):
                return await run_together(self.tools, path.node.calls, walk, self.on_tool_bug, self.repeat)
        except ToolBug as bug:
            bug.add_note(f"in path {path.id}, after its last node")
            raise
        return None

    def _tell(self, tree: TrajectoryTree, path: Path, error: str, turn: Sequence[int]) -> bool:
        """Tell the model that its turn broke the protocol; False if the trajectory ends with this turn."""
        if self.on_format_error == "end" or path.calls >= self.limits.max_tool_calls or self._over(path):
            return False
        tokens = self.protocol.format_error(error, turn)
        if len(tokens) >= self._room(path):
            return False
        path.calls += 1
        path.node.error = error
        path.node = tree.add(path.node.id, Kind.OBSERVATION, tokens, path.id)
        self.generator.extend(path.sequence, tokens)
        return True

    async def _turn(self, path: Path, observation: Node | None, peek: Callable[[Observation], None] | None) -> Sampled:
        """Sample one turn. If the entropy of its first W tokens is needed, these are sampled first."""
        if peek is None or (observation is None and path.root_entropy is not None):
            sampled = await self._sample(path, self._room(path))
            if path.root_entropy is None:
                path.root_entropy = self._entropy(sampled)
            return sampled
        sampled = await self._sample(path, min(self.window, self._room(path)))
        entropy = self._entropy(sampled)
        if observation is None:
            path.root_entropy = entropy
        else:
            peek(Observation(path, path.number, observation, entropy))
        if sampled.stopped or self._room(path) == 0 or self._over(path):
            return sampled
        return joined(sampled, await self._sample(path, self._room(path)))

    async def _sample(self, path: Path, tokens: int) -> Sampled:
        if self.limits.max_seconds is None:
            return await self.generator.sample(path.sequence, tokens, self.protocol.stop)
        over = partial(self._over, path)
        return await sample_until(self.generator, path.sequence, tokens, self.protocol.stop, over)

    def _entropy(self, sampled: Sampled) -> float:
        if self.generator.entropy_estimator == "none":
            return 0.0
        reference = self.entropy_scale == "reference"
        entropies = sampled.reference_entropies if reference else sampled.entropies
        return segment_entropy(entropies, self.window, self.entropy_scale)

    def _room(self, path: Path) -> int:
        return self.limits.max_tokens - (path.sequence.length - path.prompt_length)

    def _over(self, path: Path) -> bool:
        return self.limits.max_seconds is not None and path.clock.seconds >= self.limits.max_seconds

    def _write(self, tree: TrajectoryTree, path: Path, sampled: Sampled, parsed: ParsedTurn) -> Node:
        node = tree.add(path.node.id, Kind.POLICY, sampled.tokens, path.id)
        node.logprobs, node.entropies, node.calls = sampled.logprobs, sampled.entropies, parsed.calls
        node.version = sampled.version
        return node

    def _end(self, path: Path, reason: StopReason, parsed: ParsedTurn) -> None:
        path.leaf = Leaf(
            path=path.id,
            node=path.node.id,
            origin=path.origin,
            stop_reason=reason,
            answer=parsed.answer,
            format_error=parsed.error,
            parent_path=path.parent,
            depth=path.depth,
            root_entropy=path.root_entropy or 0.0,
        )

    def _reason(self, path: Path, sampled: Sampled, parsed: ParsedTurn) -> StopReason:
        if parsed.error is not None:
            return StopReason.FORMAT
        if parsed.answer is not None:
            return StopReason.ANSWER
        if path.calls + len(parsed.calls) > self.limits.max_tool_calls:
            return StopReason.TOOL_LIMIT
        if sampled.stopped and not parsed.calls:
            return StopReason.END
        return StopReason.TIME if self._over(path) and self._room(path) > 0 else StopReason.LENGTH
