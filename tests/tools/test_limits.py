"""Rates, services and budgets: who waits, who is paid for, and what runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.base import Tool, tool
from aepo.tools.counts import count, counting, taken
from aepo.tools.limits import BudgetSpent, Rate, Service, ToolBudget, ToolTerms, limited
from aepo.tools.places import Places
from aepo.types import ToolError, ToolStatus


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await anyio.lowlevel.checkpoint()
        self.now = max(self.now, until)

    def rate(self, per_second: float, burst: int = 1) -> Rate:
        return Rate(per_second, burst, self, self.sleep)


def begins(rate: Rate, time: Time, calls: int) -> list[float]:
    """When calls that all ask at once may begin."""
    found: list[float] = []

    async def one() -> None:
        await rate.wait()
        found.append(time.now)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(calls):
                tasks.start_soon(one)

    anyio.run(main)
    return found


def test_calls_begin_at_their_rate_after_a_burst() -> None:
    time = Time()
    assert begins(time.rate(2.0, burst=3), time, 6) == pytest.approx([0.0, 0.0, 0.0, 0.5, 1.0, 1.5])


def test_a_pause_saves_up_no_more_than_a_burst() -> None:
    time = Time()
    rate = time.rate(2.0, burst=2)
    begins(rate, time, 2)
    time.now += 100
    assert begins(rate, time, 4) == pytest.approx([100.0, 100.0, 100.5, 101.0])


@given(st.floats(0.1, 50), st.integers(1, 5), st.lists(st.floats(0, 3), min_size=1, max_size=30))
def test_no_stretch_of_time_ever_sees_more_than_its_share(per_second: float, burst: int, pauses: list[float]) -> None:
    time = Time()
    rate = time.rate(per_second, burst)
    found: list[float] = []

    async def main() -> None:
        for pause in pauses:
            time.now += pause
            await rate.wait()
            found.append(time.now)

    anyio.run(main)
    for first, began in enumerate(found):
        for last in range(first, len(found)):
            assert last - first + 1 <= burst + (found[last] - began) * per_second + 1e-6


def test_a_clock_that_is_set_back_gives_nothing_away() -> None:
    time = Time()
    rate = time.rate(1.0)
    begins(rate, time, 1)
    time.now = -50.0
    assert begins(rate, time, 1) == pytest.approx([-49.0])


def test_who_gives_up_waiting_leaves_the_turn_to_the_next() -> None:
    time = Time()
    rate = Rate(1.0, 1, time, lambda seconds: anyio.sleep_forever())

    async def main() -> None:
        await rate.wait()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await rate.wait()
        time.now = 1.0
        with anyio.fail_after(5):
            await rate.wait()

    anyio.run(main)


def test_waits_are_counted() -> None:
    time = Time()
    with counting() as counts:
        begins(time.rate(2.0), time, 3)
    assert taken(counts) == {"tool/rate/waits": 2.0, "tool/rate/seconds": 1.5}
    assert taken(counts) == {}


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_that_is_not_positive_is_refused(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="both must be positive"):
        Rate(per_second, burst)


@pytest.fixture
def echo() -> Tool:
    @tool(price=0.1)
    def echo(word: str) -> str:
        """Echo.

        Args:
            word: What.
        """
        if word == "refuse":
            raise ToolError("no")
        return word

    return echo


def call(made: Tool, *words: str) -> list[str]:
    return [anyio.run(made.call, {"word": word}).text for word in words]


def test_a_budget_of_calls_ends_with_the_call_that_would_exceed_it(echo: Tool) -> None:
    made = limited(echo, ToolTerms(budget=ToolBudget(calls=2)))
    assert call(made, "a", "refuse") == ["a", "no"], "a failed call is one"
    assert anyio.run(made.call, {"size": 1}).status is ToolStatus.BAD_ARGUMENTS
    with pytest.raises(BudgetSpent, match=r"the tool budget is spent: 2 of 2 calls; raise tools\.budget\.calls"):
        call(made, "b")


def test_a_budget_of_money_lasts_for_what_it_can_pay(echo: Tool) -> None:
    budget = ToolBudget(money=0.3)
    made, free = limited(echo, ToolTerms(budget=budget)), limited(replace(echo, price=0.0), ToolTerms(budget=budget))
    assert call(made, "a", "b", "c") == ["a", "b", "c"], "0.1 + 0.1 + 0.1 is 0.3 here"
    with pytest.raises(BudgetSpent, match=r"0\.3 of 0\.3, and a call of echo costs 0\.1; raise tools\.budget\.money"):
        call(made, "d")
    assert call(free, "e") == ["e"], "what costs nothing goes on"
    assert budget.metrics() == {"tool/spent/calls": 4.0, "tool/spent/money": pytest.approx(0.3)}


def test_what_was_spent_is_known_to_a_resumed_run_even_if_it_was_killed(echo: Tool, tmp_path: Path) -> None:
    file = tmp_path / "spent.jsonl"
    for resume, before, after in [(False, 0, 2), (True, 2, 4), (False, 0, 2)]:
        budget = ToolBudget(calls=10)
        budget.keep_in(file, resume)
        assert budget.calls == before and budget.money == pytest.approx(before / 10)
        call(limited(echo, ToolTerms(budget=budget)), "a", "b")
        assert budget.calls == after
    with file.open("a") as cut:
        cut.write('["echo", 0.')
    for calls in (2, 3):
        budget = ToolBudget()
        budget.keep_in(file, True)
        assert budget.calls == calls
        budget.charge("echo", 0.1)


def test_tools_of_a_service_share_its_places_and_its_rate() -> None:
    running, most = 0, 0
    time = Time()
    service = Service(Places(2), time.rate(1.0, burst=2))

    def made(name: str) -> Tool:
        @tool(name=name)
        async def ask() -> str:
            """Ask."""
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            running -= 1
            return "done"

        return limited(ask, ToolTerms(service=service))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for one in (made("one"), made("two")):
                for _ in range(4):
                    tasks.start_soon(one.call, {})

    anyio.run(main)
    assert most == 2 and time.now == pytest.approx(6.0)


def test_waiting_for_a_turn_does_not_count_against_the_timeout() -> None:
    @tool(timeout=5, concurrency=1)
    async def ask() -> str:
        """Ask."""
        return "done"

    asleep: list[float] = []

    async def sleep(seconds: float) -> None:
        # Within the tool's own time limit there would be a deadline here.
        asleep.append(anyio.current_effective_deadline())

    made = limited(ask, ToolTerms(rate=Rate(0.001, 1, lambda: 0.0, sleep)))

    async def main() -> list[str]:
        return [(await made.call({})).text for _ in range(2)]

    assert anyio.run(main) == ["done", "done"] and asleep == [float("inf")]


def test_nobody_listens_to_counts_outside() -> None:
    count("cache/hits")
    with counting() as counts:
        pass
    count("cache/hits")
    assert taken(counts) == {}


def test_counts_of_threads_and_tasks_are_heard() -> None:
    @tool
    def threaded() -> str:
        """Count."""
        count("retries", 2)
        return ""

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(threaded.call, {})

    with counting() as counts:
        anyio.run(main)
    assert taken(counts) == {"tool/retries": 6.0}
