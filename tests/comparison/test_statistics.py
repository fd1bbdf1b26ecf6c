"""Intervals against numbers worked by hand, and the properties that make them honest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.comparison.statistics import Interval, cost, difference, success


def cells(*seeds: list[float]) -> np.ndarray:
    return np.array(seeds, dtype=np.float64)


def test_the_mean_is_over_all_seeds_and_questions() -> None:
    assert success(cells([1, 0, 0.5], [1, 1, 0.4])).mean == pytest.approx(3.9 / 6)


def test_one_question_of_two_seeds_has_the_three_means_that_two_draws_can_give() -> None:
    # Draws: both low, one of each, both high: deviations -0.1, 0, 0.1, stretched by sqrt(2). 2.5 % is in the first.
    found = success(cells([0.4], [0.6]))
    assert (found.low, found.high) == pytest.approx((0.5 - 0.1 * math.sqrt(2), 0.5 + 0.1 * math.sqrt(2)))


def test_one_seed_of_two_questions_is_the_same_the_other_way_round() -> None:
    assert success(cells([0.4, 0.6])) == success(cells([0.4], [0.6]))


@pytest.mark.parametrize(("seeds", "questions"), [(3, 200), (30, 40)])
def test_the_width_is_that_of_the_variances_of_both_means(seeds: int, questions: int) -> None:
    rng = np.random.default_rng(5)
    of_seed, of_question = rng.normal(0, 0.03, (seeds, 1)), rng.normal(0, 0.1, (1, questions))
    found = success(0.5 + of_seed + of_question)
    # Unbiased variances of the two means; the normal quantile is near for a sum of many draws.
    error = math.sqrt(of_seed.var(ddof=1) / seeds + of_question.var(ddof=1) / questions)
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1.0, abs=0.12)


def test_what_both_entries_share_adds_nothing_to_a_paired_difference() -> None:
    rng = np.random.default_rng(1)
    hard = np.clip(rng.normal(0.4, 0.2, (1, 100)) + rng.normal(0, 0.02, (3, 1)), 0, 0.9)
    found = difference(hard + 0.05, hard)
    assert (found.mean, found.low, found.high) == pytest.approx((0.05, 0.05, 0.05))
    assert found.verdict == "better" and difference(hard, hard + 0.05).verdict == "worse"
    apart = success(hard)
    assert apart.high - apart.low > 0.06, "unpaired the same gain would drown"


def test_equal_entries_are_inside_the_noise() -> None:
    same = cells([1, 0, 0.2], [0, 1, 0.4])
    assert difference(same, same) == Interval(0.0, 0.0, 0.0)
    assert difference(same, same).verdict == "inside the noise"


def test_two_equal_policies_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        chance = rng.uniform(0, 1, (1, 60))
        one, other = (rng.binomial(5, np.broadcast_to(chance, (3, 60))) / 5 for _ in range(2))
        false += difference(one, other).verdict != "inside the noise"
    assert false <= 7, "5 % of 100 would be 5"


unit = st.floats(0, 1)
matrices = st.integers(1, 4).flatmap(
    lambda q: st.lists(st.lists(unit, min_size=q, max_size=q), min_size=1, max_size=4).map(lambda m: cells(*m))
)


@settings(max_examples=40, deadline=None)
@given(matrices)
def test_a_success_stays_a_success_and_the_mean_lies_inside(found: np.ndarray) -> None:
    if found.size == 1:
        assert math.isnan(success(found).low) and success(found).verdict == "unknown"
        return
    interval = success(found)
    assert -1e-12 <= interval.low <= interval.mean + 1e-12 and interval.mean <= interval.high + 1e-12 <= 1 + 2e-12
    assert success(found) == interval, "the same data give the same interval"


def test_cells_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match=r"same seeds and questions: \(1, 2\) against \(1, 3\)"):
        difference(cells([1, 0]), cells([1, 0, 1]))
    with pytest.raises(ValueError, match="every seed must have answered every question"):
        success(cells([1, math.nan]))
    with pytest.raises(ValueError, match="a value for each seed and question"):
        success(np.zeros((0, 3)))


def test_costs_have_student_s_interval() -> None:
    # Two values 10 apart: standard error 5, and 12.706 of them.
    assert cost([10.0, 20.0]) == Interval(15.0, pytest.approx(15 - 63.53), pytest.approx(15 + 63.53))
    assert cost([1.0, 2.0, 3.0]).high == pytest.approx(2 + 4.303 / math.sqrt(3))
    many = cost([0.0, 1.0] * 50)
    assert many.high == pytest.approx(0.5 + 1.96 * np.std([0, 1] * 50, ddof=1) / 10)
    assert math.isnan(cost([4.0]).low) and cost([4.0]).mean == 4.0
    with pytest.raises(ValueError, match="a value for each seed"):
        cost([])
