"""What solving a question may use, what things cost, and what was used."""

from __future__ import annotations

import math
from dataclasses import dataclass

DEFAULT_TRAJECTORIES = 8
# A question that needs no tool would never spend a budget of calls.
MOST_TRAJECTORIES = 64


@dataclass(frozen=True)
class Budget:
    """Limits that are never exceeded; the first one that is reached ends the rollout. None is no limit.

    Attributes:
        trajectories: Trajectories begun; without any limit 8, beside another limit at most 64.
        calls: Tool calls.
        tokens: Tokens that the policy writes.
        money: What tokens and calls cost together, in the currency of the prices.

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
        """How many trajectories may be begun."""
        if self.trajectories is not None:
            return self.trajectories
        return MOST_TRAJECTORIES if self.holds_back else DEFAULT_TRAJECTORIES

    @property
    def holds_back(self) -> bool:
        """Whether a trajectory that has begun may have to wait, or to be given up."""
        return any(limit is not None for limit in (self.calls, self.tokens, self.money))


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost; calls cost what their tools say (`Tool.price`).

    Attributes:
        input: Tokens that the model reads. Each time it is asked to go on it reads all that stands before.
        output: Tokens that it writes.

    Raises:
        ValueError: One is negative or not finite.
    """

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for price in (self.input, self.output):
            if not 0 <= price < math.inf:
                raise ValueError(f"a price of {price} for a million tokens: give a number from 0 on")

    def of(self, read: int, written: int) -> float:
        """What one request costs."""
        return (self.input * read + self.output * written) / 1e6


@dataclass(frozen=True)
class Spent:
    """What was used.

    Attributes:
        trajectories: Trajectories begun.
        calls: Tool calls that ran; a call that branches share counts once.
        tokens: Tokens that the policy wrote; shared ones count once, those of trajectories that were cut count too.
        tokens_read: Tokens before those, added up over all requests.
        money: What it cost by the prices that were given.
        seconds: Wall time.
    """

    trajectories: int = 0
    calls: int = 0
    tokens: int = 0
    tokens_read: int = 0
    money: float = 0.0
    seconds: float = 0.0

    def __add__(self, more: Spent) -> Spent:
        return Spent(*(mine + other for mine, other in zip(vars(self).values(), vars(more).values(), strict=True)))


def rounds(trajectories: int, group_size: int) -> list[int]:
    """Trajectories of each round: as few rounds as groups of `group_size` allow, of sizes that differ by 1 at most."""
    count = -(-trajectories // group_size)
    return [trajectories // count + (number < trajectories % count) for number in range(count)]
