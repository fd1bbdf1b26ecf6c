"""One trajectory while it grows, its limits, and the places where others may branch from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aepo.rollout.generator import GrowingSequence
from aepo.types import Leaf, Node, Origin


def now() -> float:
    """Seconds on a clock that nobody sets."""
    return time.monotonic()


@dataclass(frozen=True)
class Limits:
    """Limits of one trajectory; the inherited tokens, calls and seconds of a branch count.

    Attributes:
        max_tokens: Tokens after the prompt, observations included.
        max_tool_calls: Calls; a path whose turn asks for more than are left ends, and none of that turn is run.
        max_seconds: Wall time; None is no limit.

    Raises:
        ValueError: No token or no second is allowed, or calls are negative.
    """

    max_tokens: int = 512
    max_tool_calls: int = 6
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.max_tool_calls < 0:
            raise ValueError(f"{self}: a trajectory needs at least one token, and calls cannot be negative")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"{self}: a trajectory needs some time")


@dataclass
class Path:
    """A trajectory while it grows.

    Attributes:
        id: Number inside its question.
        origin: Why it began.
        sequence: Its sequence in the engine.
        node: Its last node in the tree.
        prompt_length: Tokens of the prompt.
        calls: Number of tool calls so far, inherited ones included; a turn that broke the protocol counts as one.
        root_entropy: h_init; inherited if the path begins in another one, else known after the first W tokens.
        parent: The path in which it began.
        depth: Number of inherited observations.
        observed: Observations after which the next W tokens are known, inherited ones included.
        kept: Inherited tokens of its first turn; not empty if it begins inside a turn.
        leaf: Set when it has ended.
        observations: Its own observations of results, in order.
        earlier: Seconds that its inherited part took.
        began: When it began, as `now` says.
        times: For each of its own observations, the trajectory's seconds when the calls were made and when their
            results were there.
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
    earlier: float = 0.0
    began: float = field(default_factory=now)
    times: list[tuple[float, float]] = field(default_factory=list)

    @property
    def number(self) -> int:
        """Number of its last observation; inherited ones count."""
        return self.depth + len(self.observations)

    def observation(self, number: int) -> Node:
        """Its own observation with number i; inherited ones count in i."""
        return self.observations[number - self.depth - 1]

    @property
    def seconds(self) -> float:
        """Seconds that the trajectory has taken so far."""
        return self.earlier + now() - self.began

    def seconds_at(self, number: int, before_calls: bool) -> float:
        """Seconds that the trajectory had taken at its own observation with number i, or when its calls were made."""
        made, answered = self.times[number - self.depth - 1]
        return made if before_calls else answered


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
