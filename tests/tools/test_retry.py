"""What is tried again, after which waits, and what ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.retry import TryFailed, backoff, retried, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Service:
    """Fails as it is told, then answers; keeps how long was waited."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.waits = list(failures), list[float]()

    async def once(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_it_is_tried_until_it_works_and_each_failure_is_heard_of() -> None:
    service, heard = Service(TryFailed("busy"), TryFailed("down", after=7.0)), []
    answer = anyio.run(retried, service.once, 3, service.sleep, lambda wait: True, lambda *told: heard.append(told))
    assert answer == "answer" and [(str(failure), attempt) for failure, attempt in heard] == [("busy", 1), ("down", 2)]
    assert 0.25 <= service.waits[0] <= 0.5 and service.waits[1] == 7.0, "what the service asks for counts"


@pytest.mark.parametrize(
    ("failures", "attempts", "left"),
    [
        ([TryFailed("a"), TryFailed("b"), TryFailed("c")], 2, ["c"]),
        ([TryFailed("gone", again=False), TryFailed("b")], 5, ["b"]),
        ([TryFailed("a", after=60.0), TryFailed("b")], 5, ["b"]),
        ([KeyError("bug"), TryFailed("b")], 5, ["b"]),
    ],
)
def test_the_last_failure_is_raised_where_no_other_try_makes_sense(
    failures: list[Exception], attempts: int, left: list[str]
) -> None:
    service = Service(*failures)
    expected = failures[attempts - 1 if attempts == 2 else 0]
    with pytest.raises(type(expected)) as raised:
        anyio.run(retried, service.once, attempts, service.sleep, lambda wait: wait < 30)
    assert raised.value is expected and list(map(str, service.failures)) == left


def test_a_wait_can_be_cancelled() -> None:
    async def main() -> bool:
        with anyio.move_on_after(0.01) as scope:
            await retried(Service(TryFailed("a", after=1e6)).once, 2)
        return scope.cancelled_caught

    assert anyio.run(main)


def test_a_date_and_a_number_say_the_same() -> None:
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    assert retry_after("90", NOW) == retry_after(later, NOW) == retry_after(" 90 ", NOW) == 90.0
    assert retry_after(format_datetime(NOW - timedelta(days=1)), NOW) == 0.0


@given(st.text() | st.integers().map(str) | st.datetimes().map(format_datetime))
def test_whatever_the_header_holds_is_a_sensible_wait_or_none(header: str) -> None:
    seconds = retry_after(header, NOW)
    assert seconds is None or 0 <= seconds <= 366 * 86400


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waits_grow_and_have_a_top(attempt: int, chance: float) -> None:
    assert 0.25 <= backoff(attempt, chance) <= 8.0
    assert backoff(attempt, chance) <= backoff(attempt + 1, chance)
