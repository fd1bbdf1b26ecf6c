"""A trajectory while it grows, its limits, and the places where other paths may branch from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from aepo.environments.session import Session
from aepo.rollout.generator import GrowingSequence
from aepo.types import Leaf, Node, Origin


def now() -> float:
    """The seconds of a clock that is never set."""
    return time.monotonic()


@dataclass(frozen=True)
class Limits:
    """Limits of one trajectory; the inherited tokens, calls and seconds of a branch count.

    Attributes:
        max_tokens: The largest number of tokens after the prompt, observations included.
        max_tool_calls: The largest number of calls. If a turn asks for more than are left, none of its calls is run and
            the path ends.
        max_seconds: The wall time in seconds; None is no limit.
        max_opening_tokens: The largest number of tokens that the opening of an environment adds to the prompt.

    Raises:
        ValueError: No token or no second is allowed, or calls are negative.
    """

    max_tokens: int = 512
    max_tool_calls: int = 6
    max_seconds: float | None = None
    max_opening_tokens: int = 256

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.max_tool_calls < 0:
            raise ValueError(f"{self}: a trajectory needs at least one token, and calls cannot be negative")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"{self}: a trajectory needs some time")


@dataclass
class Clock:
    """The seconds of a trajectory.

    Attributes:
        earlier: The seconds that its inherited part took.
        began: The time of `now` at which its own part began.
        times: For each of its own observations, its seconds when the calls were made and when their results came.
    """

    earlier: float = 0.0
    began: float = field(default_factory=now)
    times: list[tuple[float, float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The seconds that the trajectory has taken so far."""
        return self.earlier + now() - self.began

    def answered(self, made: float) -> None:
        """Note that results have come, of calls that were made after `made` seconds."""
        self.times.append((made, self.seconds))


@dataclass
class Path:
    """A trajectory while it grows.

    Attributes:
        id: The number of the path inside its question.
        origin: The reason why it began.
        sequence: Its sequence in the engine.
        node: Its last node in the tree.
        prompt_length: The number of tokens of the prompt.
        calls: The number of tool calls so far, inherited ones included; a turn that broke the protocol counts as one.
        root_entropy: h_init; inherited if the path begins in another one, else known after the first W tokens.
        parent: The path in which it began.
        depth: The number of inherited observations.
        kept: The inherited tokens of its first turn; not empty if it begins inside a turn.
        leaf: The leaf, once the path has ended; else None.
        observations: Its own observations of results, in order.
        clock: Its seconds.
        session: The world that it calls; None without an environment.
        keeps: Whether the world's state is kept after each observation, because others may begin there.
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
    kept: Sequence[int] = ()
    leaf: Leaf | None = None
    observations: list[Node] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    session: Session | None = None
    keeps: bool = False

    @property
    def number(self) -> int:
        """The number of its last observation; inherited ones count."""
        return self.depth + len(self.observations)

    def observation(self, number: int) -> Node:
        """Its own observation with number i, which also counts inherited ones."""
        return self.observations[number - self.depth - 1]

    def seconds_at(self, number: int, before_calls: bool) -> float:
        """The trajectory's seconds at its own observation with number i, or at the time when its calls were made."""
        made, answered = self.clock.times[number - self.depth - 1]
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
