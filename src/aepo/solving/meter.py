"""Pays for tokens and calls before they are used, so that no limit is exceeded.

A turn begins when the budget can pay for all tokens that it may write; the unused part is given back. Until then it
waits. The trajectory that began first is served first, because a few whole trajectories are worth more than many
unfinished ones. If all unfinished trajectories wait and no turn can give anything back, the budget is spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import anyio

from aepo.solving.budget import SolvingBudget, SolvingPrices, SolvingSpent
from aepo.tools.base import Execute, Tool
from aepo.tools.cache.layer import trajectory
from aepo.types import ToolResult

# Prices like 0.1 do not add up exactly.
ROUNDING = 1e-9
CALLS_FIRST = -1


@dataclass(eq=False)
class Grant:
    """The tokens that a turn may write, and the number of tokens that it reads."""

    tokens: int
    read: int


@dataclass(eq=False)
class _Waiting:
    age: int
    """Trajectories with the smallest number come first."""
    pay: Callable[[], str | None]
    """Pays and returns None, or returns the limit that forbids it."""
    whose: int | str
    """The trajectory, which waits for a turn or for calls: its number for a turn, its name for a call."""
    paid: anyio.Event = field(default_factory=anyio.Event)
    refused: str | None = None


class Meter:
    """Counts and limits the resources of one question.

    Attributes:
        spent: The resources used so far, without seconds.
        exhausted: The limit that ended the rollout; None before that.
        stop: Called when no trajectory can go on.
    """

    def __init__(self, budget: SolvingBudget, prices: SolvingPrices) -> None:
        """Begin with nothing used."""
        self.budget, self.prices, self.spent = budget, prices, SolvingSpent()
        self.exhausted: str | None = None
        self.stop: Callable[[], None] = lambda: None
        self._held: list[Grant] = []
        self._waiting: list[_Waiting] = []
        self._growing: set[int] = set()

    def tool(self, tool: Tool) -> Tool:
        """The tool with a payment before each call, also if a kept result answers it."""

        async def around(execute: Execute, values: dict[str, object]) -> ToolResult:
            await self._paid(CALLS_FIRST, lambda: self._pay_call(tool.price), trajectory.get())
            return await execute(values)

        return replace(tool, around=(*tool.around, around))

    def begins(self, path: int) -> None:
        """Count a trajectory that begins."""
        self._growing.add(path)
        self.spent += SolvingSpent(trajectories=1)

    def ends(self, path: int) -> None:
        """Note that a trajectory has ended."""
        if path in self._growing:
            self._growing.remove(path)
            self._serve()

    async def reserve(self, path: int, read: int, wanted: int) -> Grant:
        """Wait until a turn can be paid for; the caller must call `settle` after it.

        Args:
            path: Number of the trajectory, in the order in which they began.
            read: Number of tokens before the turn.
            wanted: Number of tokens that it may write; the grant is smaller if fewer are left and none comes back.
        """
        granted: list[Grant] = []
        try:
            await self._paid(path, lambda: self._pay_turn(read, wanted, granted), path)
        except BaseException:
            self._held = [grant for grant in self._held if grant not in granted]
            raise
        return granted[0]

    def settle(self, grant: Grant, written: int) -> None:
        """Pay for the tokens that a turn has written, and give back the rest."""
        self._held.remove(grant)
        self.spent += SolvingSpent(0, 0, written, grant.read, self.prices.of(grant.read, written))
        self._serve()

    async def give_up(self, path: int) -> None:
        """Wait for ever, because a turn has used all that was left and is not complete."""
        limit = "tokens" if self._free_tokens() <= 0 else "money"
        await self._paid(path, lambda: limit, path)

    def affordable(self) -> int:
        """The number of trajectories that the rest of the budget pays for, at the average cost so far.

        It sets `exhausted` if nothing is left.
        """
        spent, budget = self.spent, self.budget
        most = budget.most_trajectories - spent.trajectories
        for name in ("calls", "tokens", "money"):
            used, limit = getattr(spent, name), getattr(budget, name)
            if limit is None or used == 0:
                continue
            most = min(most, math.floor((limit - used) * spent.trajectories / used + ROUNDING))
            if limit - used <= ROUNDING * limit:
                self.exhausted = self.exhausted or name
        return most

    def interrupt(self) -> None:
        """End the rollout because of an interrupt."""
        self._end("interrupted")

    async def _paid(self, age: int, pay: Callable[[], str | None], whose: int | str) -> None:
        waiting = _Waiting(age, pay, whose)
        self._waiting.append(waiting)
        try:
            self._serve()
            if waiting in self._waiting:
                await waiting.paid.wait()
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _serve(self) -> None:
        """Pay for waiting calls, then for turns, the oldest trajectory first, up to a turn that cannot be paid."""
        for waiting in sorted(self._waiting, key=lambda one: one.age):
            waiting.refused = waiting.pay()
            if waiting.refused is None:
                self._waiting.remove(waiting)
                waiting.paid.set()
            elif waiting.age != CALLS_FIRST:
                break
        # A turn can have several calls, and its trajectory goes on only when all of them are paid for.
        stopped = {waiting.whose for waiting in self._waiting}
        if stopped and len(stopped) == len(self._growing) and not self._held:
            self._end(next(one.refused for one in self._waiting if one.refused))

    def _end(self, limit: str) -> None:
        if self.exhausted is None:
            self.exhausted = limit
            self.stop()

    def _pay_call(self, price: float) -> str | None:
        if self.budget.calls is not None and self.spent.calls >= self.budget.calls:
            return "calls"
        if price > self._free_money() * (1 + ROUNDING):
            return "money"
        self.spent += SolvingSpent(calls=1, money=price)
        return None

    def _pay_turn(self, read: int, wanted: int, granted: list[Grant]) -> str | None:
        by_money = self._tokens_for(self._free_money() - self.prices.of(read, 0))
        most = min(wanted, self._free_tokens(), by_money)
        if most < 1 or (most < wanted and self._held):
            return "tokens" if self._free_tokens() <= by_money else "money"
        granted.append(Grant(int(most), read))
        self._held.append(granted[0])
        return None

    def _tokens_for(self, money: float) -> float:
        if money < 0:
            return 0
        price = self.prices.of(0, 1)
        return math.inf if price == 0 or math.isinf(money) else math.floor(money / price + ROUNDING)

    def _free_tokens(self) -> float:
        limit = math.inf if self.budget.tokens is None else self.budget.tokens
        return limit - self.spent.tokens - sum(grant.tokens for grant in self._held)

    def _free_money(self) -> float:
        limit = math.inf if self.budget.money is None else self.budget.money
        return limit - self.spent.money - sum(self.prices.of(grant.read, grant.tokens) for grant in self._held)
