"""Computes the price of a trajectory: of prompt tokens, sampled tokens and tool calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aepo.types import Trajectory

MILLION = 1_000_000


@dataclass(frozen=True)
class TrajectoryCost:
    """The tokens and calls that a trajectory used.

    Attributes:
        prompt: Number of tokens read before its turns. Each turn reads all tokens before it again, as on a server that
            gives no discount for a known prefix.
        sampled: Number of tokens that the policy wrote.
        calls: Number of executed calls of each tool.
    """

    prompt: int
    sampled: int
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prices:
    """The prices, all in one currency.

    Attributes:
        prompt: Price of a million prompt tokens.
        sampled: Price of a million sampled tokens.
        tools: Price of one executed call of each tool.
    """

    prompt: float = 0.0
    sampled: float = 0.0
    tools: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether any price is above 0."""
        return bool(self.prompt or self.sampled or any(self.tools.values()))

    def __call__(self, spent: TrajectoryCost) -> float:
        """The price of a trajectory."""
        tokens = (spent.prompt * self.prompt + spent.sampled * self.sampled) / MILLION
        return tokens + sum(count * self.tools.get(name, 0.0) for name, count in spent.calls.items())


def spent(trajectory: Trajectory) -> TrajectoryCost:
    """The tokens and calls that a trajectory used; those that trajectories share count for each of them."""
    turns = [turn for turn in trajectory.turns if turn.tokens]
    calls = Counter(call.name for call, result in trajectory.calls if result.executed)
    return TrajectoryCost(sum(turn.start for turn in turns), sum(len(turn.tokens) for turn in turns), dict(calls))
