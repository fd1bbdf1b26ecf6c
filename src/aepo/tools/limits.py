"""How much tools may be used: calls at once, calls a second, and what all calls of a run may cost.

Nothing here changes a result. A call waits for its turn, or the run stops, since its budget is spent.
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
    """A call would have cost more than the run may spend; it was not made."""


class Rate:
    """A token bucket: `per_second` calls on average, `burst` of them at once after a pause. First come, first served.

    Args:
        per_second: Calls a second.
        burst: Calls that need not wait when nothing was asked for a while.
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
        """Take a token, one that is not there yet if need be; seconds until it is."""
        with self._lock:
            now = self._clock()
            # A clock that was set back gives nothing and takes nothing.
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second) - 1
            self._at = now
            return -self._tokens / self._per_second

    def _give_back(self) -> None:
        with self._lock:
            self._tokens += 1


class Budget:
    """What the executed calls of a run may come to.

    Args:
        calls: How many calls; None is no limit.
        money: What they may cost together; None is no limit.
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
                # One short line at a time, so that even a killed run knows what it has spent.
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([tool, price]) + "\n")

    def keep_in(self, file: Path, resume: bool) -> None:
        """Note every payment in a file; if `resume`, those that it has are spent, else it begins anew."""
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
        """As a run logs them."""
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
class Terms:
    """What holds for one tool.

    Attributes:
        rate: Calls a second; None is no limit.
        service: Limits that it shares.
        budget: Pays for it; None counts nothing.
    """

    rate: Rate | None = None
    service: Service = field(default_factory=Service)
    budget: Budget | None = None


def limited(tool: Tool, terms: Terms) -> Tool:
    """The same tool, whose calls wait for the rates and are paid for. Waiting does not count against its timeout.

    Args:
        tool: Any; its own `concurrency` holds for waiting calls too.
        terms: What holds.
    """
    places = Places(tool.concurrency)

    async def around(execute: Execute, values: dict[str, Any]) -> ToolResult:
        # A place comes first: who waited for one with a turn in hand would begin later, together with others.
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
