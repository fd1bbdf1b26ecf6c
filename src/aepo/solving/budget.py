"""The limits, the prices and the use of solving a question."""

from __future__ import annotations

import math
from dataclasses import dataclass

DEFAULT_TRAJECTORIES = 8
# A question without tool calls would never reach a limit on calls.
MOST_TRAJECTORIES = 64


@dataclass(frozen=True)
class SolvingBudget:
    """Limits that are never exceeded. The first one that is reached ends the rollout; None is no limit.

    Attributes:
        trajectories: Number of trajectories that begin; None is 8 without another limit and 64 with one.
        calls: Number of tool calls.
        tokens: Number of tokens that the policy writes.
        money: Total price of tokens and calls, in the currency of the prices.

    Raises:
        ValueError: A limit is out of range.
    """

    trajectories: int | None = None
    calls: int | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for (name, value), least in zip(vars(self).items(), (1, 0, 1, 0), strict=True):
            if value is not None and not least <= value < math.inf:
                raise ValueError(f"a budget of {value} {name}: give at least {least}")
        if self.money == 0:
            raise ValueError("a budget of 0 money: give more than that")

    @property
    def most_trajectories(self) -> int:
        """The largest number of trajectories that may begin."""
        if self.trajectories is not None:
            return self.trajectories
        return MOST_TRAJECTORIES if self.holds_back else DEFAULT_TRAJECTORIES

    @property
    def holds_back(self) -> bool:
        """Whether a trajectory that has begun may have to wait, or to be cut."""
        return any(limit is not None for limit in (self.calls, self.tokens, self.money))


@dataclass(frozen=True)
class SolvingPrices:
    """The prices of a million tokens. The price of a call is `Tool.price`.

    Attributes:
        input: Price of tokens that the model reads; each request reads all tokens so far.
        output: Price of tokens that it writes.

    Raises:
        ValueError: A price is negative or not finite.
    """

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for price in (self.input, self.output):
            if not 0 <= price < math.inf:
                raise ValueError(f"a price of {price} for a million tokens: give a number from 0 on")

    def of(self, read: int, written: int) -> float:
        """The price of one request."""
        return (self.input * read + self.output * written) / 1e6


@dataclass(frozen=True)
class SolvingSpent:
    """The resources that were used.

    Attributes:
        trajectories: Number of trajectories that began.
        calls: Number of executed tool calls; a call that branches share counts once.
        tokens: Number of tokens that the policy wrote; shared ones count once, those of cut trajectories count too.
        tokens_read: Number of tokens read, summed over all requests.
        money: Total price.
        seconds: Wall time.
    """

    trajectories: int = 0
    calls: int = 0
    tokens: int = 0
    tokens_read: int = 0
    money: float = 0.0
    seconds: float = 0.0

    def __add__(self, more: SolvingSpent) -> SolvingSpent:
        return SolvingSpent(
            *(mine + other for mine, other in zip(vars(self).values(), vars(more).values(), strict=True))
        )


def rounds(trajectories: int, group_size: int) -> list[int]:
    """The sizes of the rounds: the fewest rounds of at most `group_size`, with sizes that differ by at most 1."""
    count = -(-trajectories // group_size)
    return [trajectories // count + (number < trajectories % count) for number in range(count)]
