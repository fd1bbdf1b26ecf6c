"""Intervals against printed tables, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.evaluation.intervals import Interval, Uncertain, estimate, paired_difference, quantile, tail


@pytest.mark.parametrize(
    ("chance", "degrees", "printed"),
    [
        (0.05, 1, 12.706),
        (0.05, 2, 4.303),
        (0.05, 4, 2.776),
        (0.05, 9, 2.262),
        (0.05, 30, 2.042),
        (0.05, 1000, 1.962),
        (0.01, 3, 5.841),
        (0.001, 10, 4.587),
    ],
)
def test_student_s_quantiles_are_those_of_printed_tables(chance: float, degrees: int, printed: float) -> None:
    assert quantile(chance, degrees) == pytest.approx(printed, abs=6e-4)


@given(st.floats(1e-8, 1.0), st.integers(1, 400))
def test_the_quantile_is_where_the_tail_has_that_chance(chance: float, degrees: int) -> None:
    assert tail(quantile(chance, degrees), degrees) == pytest.approx(chance, rel=1e-6)


def test_an_interval_worked_by_hand() -> None:
    # Mean 2, standard deviation 1, standard error 1 / sqrt(3); 4.303 of them.
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.high - 2.0 == 2.0 - found.low == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.7225, 1.0), (0.0, 0.0, 0.2775)])
def test_ten_answers_alike_have_wilson_s_interval(value: float, low: float, high: float) -> None:
    # z^2 / (n + z^2) = 3.8415 / 13.8415
    found = estimate([value] * 10, 0.0, 1.0)
    assert (found.mean, found.low, found.high) == (value, pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_values_alike_between_the_ends_leave_room_on_both_sides() -> None:
    found = estimate([0.75, 0.75], 0.0, 1.0)
    other = 3.8415 / 5.8415
    assert (found.low, found.high) == pytest.approx((0.75 - 0.75 * other, 0.75 + 0.25 * other), abs=1e-4)
    assert estimate([4.0, 4.0]).low == 4.0, "without a largest value nothing can be said"


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_interval_lies_in_what_is_possible_and_has_the_mean_inside(values: list[float]) -> None:
    found = estimate(values, 0.0, 1.0)
    assert -1e-9 <= found.low <= found.mean + 1e-9 <= found.high + 2e-9 <= 1 + 3e-9
    assert found.high > found.low


def test_too_little_gives_no_interval_and_nonsense_is_refused() -> None:
    assert math.isnan(estimate([1.0]).low) and str(estimate([1.0])) == "1.000"
    with pytest.raises(ValueError, match="one value a question"):
        estimate([])
    with pytest.raises(ValueError, match="finite"):
        estimate([1.0, math.nan])


def test_pairing_finds_a_small_steady_gain_that_two_intervals_hide() -> None:
    b = np.linspace(0, 0.9, 50)
    a = b + np.where(np.arange(50) % 2, 0.04, 0.06)
    found = paired_difference(a.tolist(), b.tolist())
    assert found.mean == pytest.approx(0.05) and 0.04 < found.low < 0.05 < found.high < 0.06
    assert estimate(a.tolist()).low < estimate(b.tolist()).high
    assert paired_difference(b.tolist(), a.tolist()).mean == pytest.approx(-0.05)


def test_two_models_that_both_solve_all_may_differ_by_what_wilson_allows() -> None:
    found = paired_difference([1.0] * 10, [1.0] * 10)
    assert (found.low, found.high) == pytest.approx((-0.2775, 0.2775), abs=1e-4)


def test_pairing_needs_the_same_questions() -> None:
    with pytest.raises(ValueError, match="3 against 2"):
        paired_difference([1, 0, 1], [1, 0])


def test_p_is_student_s_and_agrees_with_the_interval() -> None:
    # 4.303 standard errors from 0, with 2 degrees of freedom.
    assert Uncertain(4.303, [[(1.0, 2)]], 3).p == pytest.approx(0.05, abs=1e-4)
    assert Uncertain(0.0, [[(1.0, 2)]], 3).p == 1.0 and math.isnan(Uncertain(0.5, [], 1).p)
    for mean in (0.1, 0.12, 0.16, 0.4):
        one = Uncertain(mean, [[(0.03, 2), (0.04, 99)], [(0.05, 99)]], 100, -1.0, 1.0)
        low, high = one.limits(one.p * 1.001)
        assert low > 0 and one.limits(one.p * 0.999)[0] <= 0 <= high


def test_a_mean_is_written_with_its_interval_if_it_has_one() -> None:
    assert str(Interval(0.53, 0.49, 0.571)) == "0.530 [0.490, 0.571]"
    assert f"{Interval(0.0123, math.nan, math.nan):.3g}" == "0.0123"
    assert f"{Interval(0.25, -0.1, 0.6).percent:+.1f}" == "+25.0 [-10.0, +60.0]"
