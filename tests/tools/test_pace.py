"""Turns."""

from aepo.tools.pace import Pace


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
