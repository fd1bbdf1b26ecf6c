"""Intervals against numbers worked by hand, and the properties that make them honest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.comparison.statistics import Difference, cost, difference, holm, success
from aepo.evaluation.intervals import Interval, quantile


def cells(*seeds: list[float]) -> np.ndarray:
    return np.array(seeds, dtype=np.float64)


def test_the_mean_is_over_all_seeds_and_questions() -> None:
    assert success(cells([1, 0, 0.5], [1, 1, 0.4])).mean == pytest.approx(3.9 / 6)


def test_one_question_of_three_seeds_has_student_s_interval() -> None:
    # Standard error 0.1 / sqrt(3), two degrees of freedom.
    found = success(cells([0.4], [0.5], [0.6]))
    half = 4.303 * 0.1 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-4)


def test_one_seed_of_three_questions_is_the_same_the_other_way_round() -> None:
    assert success(cells([0.4, 0.5, 0.6])) == success(cells([0.4], [0.5], [0.6]))


def test_both_parts_worked_by_hand() -> None:
    # Seeds' means 0.35 and 0.45: variance of their mean 0.0025. Questions' means 0.2, 0.4, 0.6: 0.04 / 3.
    # Nothing is left in the cells: no luck to take away.
    found = success(cells([0.15, 0.35, 0.55], [0.25, 0.45, 0.65]))
    half = math.hypot(12.706 * 0.05, 4.303 * 0.2 / math.sqrt(3))
    assert (found.low, found.high) == (max(0.0, 0.4 - half), min(1.0, 0.4 + half)) == (0.0, 1.0)
    small = difference(cells([0.515, 0.535, 0.555], [0.525, 0.545, 0.565]), np.full((2, 3), 0.5))
    assert small.high - 0.04 == pytest.approx(half / 10, abs=1e-4)


def test_seeds_that_are_alike_by_chance_do_not_make_it_surer_than_its_questions() -> None:
    rows = cells([1, 0, 1, 0, 1, 1], [0, 1, 1, 1, 0, 1])
    assert rows.mean(axis=1).std() == 0
    alone = success(rows.mean(axis=0, keepdims=True))
    assert success(rows) == alone and alone.high - alone.low > 0.3


def test_all_right_under_all_seeds_has_wilson_s_interval_over_its_questions() -> None:
    found = success(np.ones((3, 50)))
    assert (found.mean, found.low, found.high) == (1.0, pytest.approx(50 / (50 + 3.8415), abs=1e-4), 1.0)


@pytest.mark.parametrize(("seeds", "questions"), [(3, 200), (30, 40)])
def test_the_width_has_both_means_each_with_its_quantile(seeds: int, questions: int) -> None:
    rng = np.random.default_rng(5)
    of_seed, of_question = rng.normal(0, 0.03, (seeds, 1)), rng.normal(0, 0.1, (1, questions))
    found = success(0.5 + of_seed + of_question)
    parts = ((of_seed, seeds), (of_question, questions))
    half = math.hypot(*(quantile(0.05, n - 1) * math.sqrt(x.var(ddof=1) / n) for x, n in parts))
    assert (found.high - found.low) / 2 == pytest.approx(half)


def test_what_both_entries_share_adds_nothing_to_a_paired_difference() -> None:
    rng = np.random.default_rng(1)
    hard = np.clip(rng.normal(0.4, 0.2, (1, 100)) + rng.normal(0, 0.02, (3, 1)), 0, 0.9)
    found = difference(hard + 0.05 + rng.normal(0, 0.01, hard.shape), hard)
    assert 0.045 < found.low < found.mean < found.high < 0.055
    assert found.verdict == "better" and difference(hard, hard + 0.05).verdict == "worse"
    apart = success(hard)
    assert apart.high - apart.low > 0.06, "unpaired the same gain would drown"


def test_equal_entries_are_inside_the_noise() -> None:
    same = cells([1, 0, 0.2], [0, 1, 0.4])
    found = difference(same, same)
    assert (found.mean, found.p, found.verdict) == (0.0, 1.0, "inside the noise")
    assert -found.low == found.high == pytest.approx(3.8415 / 6.8415, abs=1e-4), "Wilson's: three questions alike"


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
        assert math.isnan(success(found).low) and difference(found, found).verdict == "unknown"
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
    assert cost([10.0, 20.0]) == Interval(
        15.0, pytest.approx(15 - 63.53, abs=0.01), pytest.approx(15 + 63.53, abs=0.01)
    )
    many = cost([0.0, 1.0] * 50)
    assert many.high == pytest.approx(0.5 + 1.984 * np.std([0, 1] * 50, ddof=1) / 10, abs=1e-4)
    assert math.isnan(cost([4.0]).low) and cost([4.0]).mean == 4.0
    with pytest.raises(ValueError, match="a value for each seed"):
        cost([])


def test_holm_s_correction_worked_by_hand() -> None:
    # 3 x 0.01, 2 x 0.02, then 1 x 0.04, which is no smaller than the one before.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    # Wright, Adjusted p-values for simultaneous inference, 1992: n = 4.
    assert holm([0.005, 0.011, 0.02, 0.04]) == pytest.approx([0.02, 0.033, 0.04, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([0.03]) == [0.03] and holm([]) == []
    assert holm([0.02, math.nan])[0] == 0.02, "what is unknown was not compared"


def test_holm_calls_none_different_that_bonferroni_s_would_not_unless_another_was_found() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        p = rng.uniform(0, 0.1, 6).tolist()
        corrected = holm(p)
        assert min(corrected) == pytest.approx(min(1.0, 6 * min(p)))
        assert all(one <= own <= min(1.0, 6 * one) + 1e-12 for one, own in zip(p, corrected, strict=True))
        assert sorted(corrected) == [own for _, own in sorted(zip(p, corrected, strict=True))]


def test_a_verdict_needs_the_corrected_p() -> None:
    assert (
        Difference(0.1, 0.02, 0.18, 0.04).verdict == "better"
        and Difference(-0.1, -0.18, -0.02, 0.04).verdict == "worse"
    )
    assert Difference(0.1, 0.02, 0.18, 0.2).verdict == "may be chance"
    assert Difference(0.1, -0.02, 0.22, 0.2).verdict == "inside the noise"
