"""Pass@k against golden values, enumeration and its own laws; intervals over questions."""

import math
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.evaluation import bootstrap_interval, paired_difference, pass_at_k

counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [(5, 1, 1, 0.2), (5, 1, 3, 0.6), (5, 1, 5, 1.0), (5, 2, 3, 0.9), (5, 0, 5, 0.0), (5, 5, 1, 1.0)],
)
def test_golden_values(n, c, k, expected):
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", range(1, 8))
def test_it_is_the_share_of_k_subsets_with_a_success(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


@given(counts)
def test_bounds_and_the_simple_cases(nck):
    n, c, k = nck
    assert 0.0 <= pass_at_k(n, c, k) <= 1.0
    assert pass_at_k(n, c, 1) == c / n
    assert pass_at_k(n, c, n) == float(c > 0)


@given(counts)
def test_more_successes_or_more_attempts_never_lower_it(nck):
    n, c, k = nck
    if c < n:
        assert pass_at_k(n, c + 1, k) >= pass_at_k(n, c, k)
    if k < n:
        assert pass_at_k(n, c, k + 1) >= pass_at_k(n, c, k)


def test_it_stays_exact_for_many_attempts():
    assert pass_at_k(100_000, 1, 10) == pytest.approx(1e-4, rel=1e-12)


def test_fewer_attempts_than_k_say_nothing():
    assert math.isnan(pass_at_k(4, 4, 5))
    assert math.isnan(pass_at_k(0, 0, 1))


@pytest.mark.parametrize(("n", "c", "k"), [(5, 6, 1), (5, -1, 1), (5, 1, 0), (-1, 0, 1)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match=r"Pass@k needs|successes in"):
        pass_at_k(n, c, k)


def test_the_interval_is_deterministic_and_moves_with_the_seed():
    values = list(np.random.default_rng(1).random(40))
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_the_interval_is_near_the_normal_one():
    values = np.random.default_rng(2).random(400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_interval_lies_between_the_extremes_and_a_wider_level_contains_it(values):
    low, high = bootstrap_interval(values, level=0.8, resamples=50)
    wide_low, wide_high = bootstrap_interval(values, level=0.99, resamples=50)
    assert min(values) - 1e-9 <= wide_low <= low <= high <= wide_high <= max(values) + 1e-9


def test_too_few_questions_and_undefined_values_give_no_interval():
    assert all(map(math.isnan, bootstrap_interval([1.0])))
    assert all(map(math.isnan, bootstrap_interval([1.0, math.nan, 0.0])))
    with pytest.raises(ValueError, match="one value a question"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([0.0, 1.0], level=95)


def test_pairing_finds_a_small_steady_gain_that_two_intervals_hide():
    b = np.linspace(0, 0.9, 50)
    a = b + np.where(np.arange(50) % 2, 0.04, 0.06)
    mean, low, high = paired_difference(a, b)
    assert mean == pytest.approx(0.05)
    assert 0.04 < low < 0.05 < high < 0.06
    assert bootstrap_interval(a)[0] < bootstrap_interval(b)[1]
    assert paired_difference(b, a)[0] == pytest.approx(-mean)


def test_pairing_needs_the_same_questions():
    with pytest.raises(ValueError, match="3 against 2"):
        paired_difference([1, 0, 1], [1, 0])


def test_evaluation_imports_without_torch():
    code = "import sys, aepo.evaluation, aepo.rewards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
