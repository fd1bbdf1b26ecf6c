"""Turns and waits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.pace import Pace, backoff, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_turns_are_spaced_evenly_and_time_that_has_passed_is_not_saved_up() -> None:
    pace = Pace(rate=2)
    assert [pace.wait(10.0) for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    assert [pace.wait(100.0) for _ in range(2)] == [0.0, 0.5]


def test_without_a_rate_nobody_waits_unless_the_service_asks_for_it() -> None:
    pace = Pace(rate=None)
    assert [pace.wait(10.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    pace.hold(13.0)
    pace.hold(12.0)
    assert pace.held(10.0) == 3.0 and pace.wait(10.0) == 3.0
    assert pace.held(20.0) == 0.0 and pace.wait(20.0) == 0.0


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
