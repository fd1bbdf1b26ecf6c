"""Pass@k against golden values, enumeration and its own laws."""

import math
import subprocess
import sys
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.evaluation.passk import pass_at_k

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


def test_evaluation_imports_without_torch():
    code = "import sys, aepo.evaluation, aepo.rewards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
