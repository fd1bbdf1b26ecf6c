"""What a trajectory costs: prompt and sampled tokens by the million, tool calls one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aepo.types import Trajectory

MILLION = 1_000_000


@dataclass(frozen=True)
class TrajectoryCost:
    """What a trajectory used.

    Attributes:
        prompt: Tokens read before its turns: for each turn all that is before it, as a server counts them that is asked
            turn by turn and gives no discount on what it has read before.
        sampled: Tokens that the policy wrote.
        calls: Executed calls, by tool.
    """

    prompt: int
    sampled: int
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prices:
    """What things cost, all in one currency.

    Attributes:
        prompt: A million prompt tokens.
        sampled: A million sampled tokens.
        tools: One executed call, by tool.
    """

    prompt: float = 0.0
    sampled: float = 0.0
    tools: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything costs something."""
        return bool(self.prompt or self.sampled or any(self.tools.values()))

    def __call__(self, spent: TrajectoryCost) -> float:
        """The cost."""
        tokens = (spent.prompt * self.prompt + spent.sampled * self.sampled) / MILLION
        return tokens + sum(count * self.tools.get(name, 0.0) for name, count in spent.calls.items())


def spent(trajectory: Trajectory) -> TrajectoryCost:
    """What a trajectory used; what it shares with another one counts for both."""
    turns = [turn for turn in trajectory.turns if turn.tokens]
    calls = Counter(call.name for call, result in trajectory.calls if result.executed)
    return TrajectoryCost(sum(turn.start for turn in turns), sum(len(turn.tokens) for turn in turns), dict(calls))
