"""Grows one path: the policy's turns and the tools' results, until it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aepo.core.scale import segment_entropy
from aepo.rollout.chat.base import ChatProtocol, ParsedTurn
from aepo.rollout.generator import Generator, GrowingSequence, Sampled
from aepo.rollout.together import OnToolBug, Repeat, run_together
from aepo.tools.base import Tool, ToolBug
from aepo.types import Kind, Leaf, Node, Origin, StopReason, ToolResult, TrajectoryTree


@dataclass(frozen=True)
class Limits:
    """Limits of one trajectory; the inherited tokens and calls of a branch count.

    Attributes:
        max_tokens: Tokens after the prompt, observations included.
        max_tool_calls: Calls; a path whose turn asks for more than are left ends, and none of that turn is run.

    Raises:
        ValueError: No token is allowed, or a limit is negative.
    """

    max_tokens: int = 512
    max_tool_calls: int = 6

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.max_tool_calls < 0:
            raise ValueError(f"{self}: a trajectory needs at least one token, and calls cannot be negative")


@dataclass
class Path:
    """A trajectory while it grows.

    Attributes:
        id: Number inside its question.
        origin: Why it began.
        sequence: Its sequence in the engine.
        node: Its last node in the tree.
        prompt_length: Tokens of the prompt.
        calls: Number of tool calls so far, inherited ones included.
        root_entropy: h_init; inherited if the path begins in another one, else known after the first W tokens.
        parent: The path in which it began.
        depth: Number of inherited observations.
        observed: Observations after which the next W tokens are known, inherited ones included.
        kept: Inherited tokens of its first turn; not empty if it begins inside a turn.
        leaf: Set when it has ended.
        observations: Its own observations, in order.
    """

    id: int
    origin: Origin
    sequence: GrowingSequence
    node: Node
    prompt_length: int
    calls: int = 0
    root_entropy: float | None = None
    parent: int | None = None
    depth: int = 0
    observed: int = 0
    kept: Sequence[int] = ()
    leaf: Leaf | None = None
    observations: list[Node] = field(default_factory=list)

    @property
    def number(self) -> int:
        """Number of its last observation; inherited ones count."""
        return self.depth + len(self.observations)

    def observation(self, number: int) -> Node:
        """Its own observation with number i; inherited ones count in i."""
        return self.observations[number - self.depth - 1]


@dataclass(frozen=True)
class Observation:
    """A place where a branch may start: right after the results of a turn's calls.

    Attributes:
        path: The path that made the calls.
        number: i, from 1; inherited ones count.
        node: The observation's node.
        entropy: H_t of the tokens that the path wrote next.
    """

    path: Path
    number: int
    node: Node
    entropy: float


class Agent:
    """Grows the paths of all questions of a rollout.

    Args:
        generator: The engine; it must be entered.
        protocol: How turns are read and results written.
        tools: By name.
        limits: Limits of a trajectory.
        window: W, tokens of a segment entropy.
        entropy_scale: "reference" sums the ten likeliest terms; the others average the full entropy.
        on_tool_bug: Whether a tool's bug stops the run.
        repeat: Whether a call that the trajectory has made before is run again, or gets the earlier result
            (`run_together`).
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
    ) -> None:
        self.generator, self.protocol, self.tools, self.limits = generator, protocol, tools, limits
        self.window, self.entropy_scale, self.on_tool_bug = window, entropy_scale, on_tool_bug
        self.repeat = repeat

    async def grow(self, path: Path, tree: TrajectoryTree, peek: Callable[[Observation], None] | None = None) -> None:
        """Grow `path` until it ends; then `path.leaf` is set.

        Args:
            path: At the question, right after an observation, or inside a turn with `kept` set.
            tree: Receives its nodes.
            peek: Called after each of its own observations, once the next W tokens are sampled. The path goes on
                without waiting. None if nothing will branch.

        Raises:
            ToolBug: A tool has a bug, and `on_tool_bug` is "stop".
        """
        observation: Node | None = None
        kept = list(path.kept)
        while True:
            sampled = await self._turn(path, observation, peek)
            turn, kept = kept + sampled.tokens, []
            parsed = self.protocol.parse(turn) if sampled.stopped else ParsedTurn()
            path.node = self._write(tree, path, sampled, parsed)
            if not parsed.calls or path.calls + len(parsed.calls) > self.limits.max_tool_calls:
                return self._end(path, _reason(sampled, parsed), parsed)
            results = await self._results(tree, path)
            path.calls += len(results)
            tokens = self.protocol.observation(results, parsed.calls, turn)
            fits = len(tokens) < self._room(path)
            # Results that do not fit are kept without tokens, because the calls were made and count.
            observation = path.node = tree.add(path.node.id, Kind.OBSERVATION, tokens if fits else [], path.id)
            observation.results = results
            path.observations.append(observation)
            if not fits:
                return self._end(path, StopReason.LENGTH, ParsedTurn())
            self.generator.extend(path.sequence, tokens)

    async def _results(self, tree: TrajectoryTree, path: Path) -> tuple[ToolResult, ...]:
        """The results of the calls of the turn that has just ended."""
        walk = tree.walk(path.node.id)
        try:
            return await run_together(self.tools, path.node.calls, walk, self.on_tool_bug, self.repeat)
        except ToolBug as bug:
            bug.add_note(f"in path {path.id}, after its last node")
            raise

    async def _turn(self, path: Path, observation: Node | None, peek: Callable[[Observation], None] | None) -> Sampled:
        """Sample one turn; its first W tokens first, if their entropy is needed."""
        stop = self.protocol.stop
        if peek is None or (observation is None and path.root_entropy is not None):
            sampled = await self.generator.sample(path.sequence, self._room(path), stop)
            if path.root_entropy is None:
                path.root_entropy = self._entropy(sampled)
            return sampled
        sampled = await self.generator.sample(path.sequence, min(self.window, self._room(path)), stop)
        entropy = self._entropy(sampled)
        if observation is None:
            path.root_entropy = entropy
        else:
            path.observed = path.number
            peek(Observation(path, path.number, observation, entropy))
        if sampled.stopped or self._room(path) == 0:
            return sampled
        return _joined(sampled, await self.generator.sample(path.sequence, self._room(path), stop))

    def _entropy(self, sampled: Sampled) -> float:
        if self.generator.entropy_estimator == "none":
            return 0.0
        reference = self.entropy_scale == "reference"
        entropies = sampled.reference_entropies if reference else sampled.entropies
        return segment_entropy(entropies, self.window, self.entropy_scale)

    def _room(self, path: Path) -> int:
        return self.limits.max_tokens - (path.sequence.length - path.prompt_length)

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


def _reason(sampled: Sampled, parsed: ParsedTurn) -> StopReason:
    if parsed.error is not None:
        return StopReason.FORMAT
    if parsed.answer is not None:
        return StopReason.ANSWER
    if parsed.calls:
        return StopReason.TOOL_LIMIT
    return StopReason.END if sampled.stopped else StopReason.LENGTH


def _joined(a: Sampled, b: Sampled) -> Sampled:
    return Sampled(
        a.tokens + b.tokens,
        a.logprobs + b.logprobs,
        a.entropies + b.entropies,
        b.stopped,
        a.reference_entropies + b.reference_entropies,
        b.version,
    )
