"""Limits of tools: calls at once, calls per second, and the total cost of a run's calls.

Limits do not change results. A call waits for its turn, or the run stops because its budget is spent.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio

from aepo.tools.base import Execute, Tool
from aepo.tools.counts import count
from aepo.tools.places import Places
from aepo.types import ToolResult


class BudgetSpent(RuntimeError):
    """A call was not made, because it would exceed the run's budget."""


class Rate:
    """A token bucket: `per_second` calls on average, `burst` of them at once after a pause, in order of arrival.

    Args:
        per_second: Calls a second.
        burst: Calls that need not wait after a pause.
        clock: Seconds, from any start.
        sleep: Waits for seconds.

    Raises:
        ValueError: A number is not positive.
    """

    def __init__(
        self,
        per_second: float,
        burst: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """The bucket is full."""
        if per_second <= 0 or burst < 1:
            raise ValueError(f"a rate of {per_second} calls a second with bursts of {burst}: both must be positive")
        self._per_second, self._burst, self._clock, self._sleep = per_second, burst, clock, sleep
        self._tokens, self._at = float(burst), clock()
        self._lock = threading.Lock()

    async def wait(self) -> None:
        """Return when the next call may begin."""
        seconds = self._take()
        if seconds <= 0:
            return
        count("rate/waits")
        count("rate/seconds", seconds)
        try:
            await self._sleep(seconds)
        except BaseException:
            self._give_back()
            raise

    def _take(self) -> float:
        """Take a token, perhaps a future one; returns the seconds until it is there."""
        with self._lock:
            now = self._clock()
            # A clock that was set back must not remove tokens.
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second) - 1
            self._at = now
            return -self._tokens / self._per_second

    def _give_back(self) -> None:
        with self._lock:
            self._tokens += 1


class ToolBudget:
    """Limit on the executed calls of a run.

    Args:
        calls: Number of calls; None is no limit.
        money: Total price; None is no limit.
    """

    def __init__(self, calls: int | None = None, money: float | None = None) -> None:
        """Nothing is spent."""
        self._limits = (calls, money)
        self.calls, self.money = 0, 0.0
        self._file: Path | None = None
        self._lock = threading.Lock()

    def charge(self, tool: str, price: float) -> None:
        """Pay for a call that begins now; it costs the same if it fails.

        Raises:
            BudgetSpent: There is not enough left.
        """
        calls, money = self._limits
        with self._lock:
            if calls is not None and self.calls >= calls:
                raise BudgetSpent(f"the tool budget is spent: {self.calls} of {calls} calls; raise tools.budget.calls")
            # Prices like 0.1 do not add up exactly.
            if money is not None and self.money + price > money * (1 + 1e-9):
                raise BudgetSpent(
                    f"the tool budget is spent: {self.money:g} of {money:g}, and a call of {tool} costs {price:g}; "
                    f"raise tools.budget.money"
                )
            self.calls += 1
            self.money += price
            if self._file is not None:
                # Each payment is written at once, so that a killed run can go on with the right sum.
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([tool, price]) + "\n")

    def keep_in(self, file: Path, resume: bool) -> None:
        """Write every payment to a file; with `resume`, payments in the file count as spent, else it begins empty."""
        known = file.read_text(encoding="utf-8") if resume and file.exists() else ""
        # A process that was killed may have left half a line.
        file.write_text(known if known.endswith("\n") or not known else f"{known}\n", encoding="utf-8")
        self._file = file
        self.calls, self.money = 0, 0.0
        for line in known.splitlines():
            try:
                _, price = json.loads(line)
            except ValueError:
                continue
            self.calls += 1
            self.money += price

    def metrics(self) -> dict[str, float]:
        """The spent calls and money as metrics."""
        return {"tool/spent/calls": float(self.calls), "tool/spent/money": self.money}


@dataclass(frozen=True)
class Service:
    """Limits that all tools of a service share.

    Attributes:
        places: Calls at once; None is no limit.
        rate: Calls a second; None is no limit.
    """

    places: Places | None = None
    rate: Rate | None = None


@dataclass(frozen=True)
class ToolTerms:
    """The limits of one tool.

    Attributes:
        rate: Calls a second; None is no limit.
        service: Limits that it shares with other tools.
        budget: Pays for its calls; None for no budget.
    """

    rate: Rate | None = None
    service: Service = field(default_factory=Service)
    budget: ToolBudget | None = None


def limited(tool: Tool, terms: ToolTerms) -> Tool:
    """The tool with calls that wait for the rates and are paid for. Waiting does not count against its timeout.

    Args:
        tool: Any tool; its own `concurrency` counts waiting calls too.
        terms: Its limits.
    """
    places = Places(tool.concurrency)

    async def around(execute: Execute, values: dict[str, Any]) -> ToolResult:
        # A call waits for a place before it takes a turn of the rate. Otherwise calls with a turn would wait for places
        # and then begin together.
        async with AsyncExitStack() as held:
            for limit in (places, terms.service.places):
                if limit is not None:
                    await held.enter_async_context(limit())
            for rate in (terms.rate, terms.service.rate):
                if rate is not None:
                    await rate.wait()
            if terms.budget is not None:
                terms.budget.charge(tool.name, tool.price)
            return await execute(values)

    return replace(tool, around=(*tool.around, around))
