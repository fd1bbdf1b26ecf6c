import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.branching import (
    allowed,
    bernoulli_rule,
    branch_probability,
    patience,
    quota,
    random_rate,
    reference_probability,
    reference_rule,
    threshold_rule,
)

# dH: rows of P, of P > tau and of how often the reference's rule branches, by consecutive branches
CONSECUTIVE = (0, 1, 2, 3, 5, 10, 20)
GOLDEN = {
    -1.0: (
        (0.3, 0.285, 0.27, 0.255, 0.225, 0.15, 0.0),
        (0, 0, 0, 0, 0, 0, 0),
        (0.3, 0.273684, 0.244444, 0.211765, 0.133333, 0, 0.0),
    ),
    -0.5: (
        (0.4, 0.38, 0.36, 0.34, 0.3, 0.2, 0.0),
        (0, 0, 0, 0, 0, 0, 0),
        (0.4, 0.373684, 0.344444, 0.311765, 0.233333, 0, 0.0),
    ),
    0.0: (
        (0.5, 0.475, 0.45, 0.425, 0.375, 0.25, 0.0),
        (0, 0, 0, 0, 0, 0, 0),
        (0.5, 0.473684, 0.444444, 0.411765, 0.333333, 0, 0.0),
    ),
    0.25: (
        (0.55, 0.5225, 0.495, 0.4675, 0.4125, 0.275, 0.0),
        (1, 1, 0, 0, 0, 0, 0),
        (0.55, 0.523684, 0.494444, 0.461765, 0.383333, 0.05, 0.0),
    ),
    0.5: (
        (0.6, 0.57, 0.54, 0.51, 0.45, 0.3, 0.0),
        (1, 1, 1, 1, 0, 0, 0),
        (0.6, 0.573684, 0.544444, 0.511765, 0.433333, 0.1, 0.0),
    ),
    1.0: (
        (0.7, 0.665, 0.63, 0.595, 0.525, 0.35, 0.0),
        (1, 1, 1, 1, 1, 0, 0),
        (0.7, 0.673684, 0.644444, 0.611765, 0.533333, 0.2, 0.0),
    ),
    2.0: (
        (0.9, 0.855, 0.81, 0.765, 0.675, 0.45, 0.0),
        (1, 1, 1, 1, 1, 0, 0),
        (0.9, 0.873684, 0.844444, 0.811765, 0.733333, 0.4, 0.0),
    ),
}
ROWS = [
    (dh, consecutive, p, bool(branches), often)
    for dh, table in GOLDEN.items()
    for consecutive, p, branches, often in zip(CONSECUTIVE, *table, strict=True)
]
# (dH, l): how often the public code branched in 20,000 draws
MEASURED = {
    (0.0, 0): 0.4991,
    (0.0, 1): 0.4736,
    (0.0, 5): 0.3335,
    (1.0, 0): 0.6993,
    (1.0, 3): 0.6108,
    (-1.0, 0): 0.2992,
    (0.0, 10): 0.0,
}
DRAWS = 4000
deltas = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(("dh", "consecutive", "p", "branches", "often"), ROWS)
def test_golden_decisions(dh: float, consecutive: int, p: float, branches: bool, often: float) -> None:
    probability = branch_probability(dh, consecutive, alpha=0.5, gamma=0.2, penalty=0.05)
    assert probability == pytest.approx(p, abs=1e-6)
    assert threshold_rule(probability, tau=0.5) is branches
    assert reference_probability(dh, consecutive, gamma=0.2, penalty=0.05, tau=0.5) == pytest.approx(often, abs=1e-6)


@pytest.mark.parametrize(("dh", "consecutive", "p", "branches", "often"), ROWS)
def test_the_reference_rule_branches_as_often_as_its_closed_form(
    dh: float, consecutive: int, p: float, branches: bool, often: float
) -> None:
    hits = sum(reference_rule(dh, consecutive, (n + 0.5) / DRAWS, 0.2, 0.05, 0.5) for n in range(DRAWS))
    assert hits / DRAWS == pytest.approx(often, abs=1.0 / DRAWS)


@pytest.mark.parametrize(("place", "often"), MEASURED.items())
def test_the_closed_form_agrees_with_what_the_public_code_was_measured_to_do(
    place: tuple[float, int], often: float
) -> None:
    assert reference_probability(*place, gamma=0.2, penalty=0.05, tau=0.5) == pytest.approx(often, abs=0.01)


@given(deltas, st.integers(0, 10**6), st.floats(0.0, 1.0), st.floats(0.0, 10.0), st.floats(0.0, 1.0))
def test_probabilities_are_probabilities(dh: float, row: int, alpha: float, gamma: float, penalty: float) -> None:
    assert 0.0 <= branch_probability(dh, row, alpha, gamma, penalty) <= 1.0
    assert 0.0 <= reference_probability(dh, row, gamma, penalty, alpha) <= 1.0


@given(st.floats(-5.0, 5.0), st.floats(-5.0, 5.0), st.integers(0, 30), st.integers(0, 30))
def test_more_entropy_raises_and_more_branches_in_a_row_lower_the_probability(
    one: float, other: float, few: int, many: int
) -> None:
    low, high = sorted((one, other))
    few, many = sorted((few, many))
    assert branch_probability(low, few) <= branch_probability(high, few)
    assert branch_probability(low, many) <= branch_probability(low, few)


def test_with_tau_equal_to_alpha_the_first_branch_asks_for_the_sign_only() -> None:
    for gamma in (0.01, 0.2, 5.0):
        assert threshold_rule(branch_probability(1e-3, 0, 0.5, gamma), tau=0.5)
        assert not threshold_rule(branch_probability(0.0, 0, 0.5, gamma), tau=0.5)


def test_a_spent_patience_never_branches() -> None:
    assert patience(20, 0.05) == 0.0
    assert branch_probability(1e308, 20, gamma=100.0) == 0.0
    assert reference_probability(1e308, 20) == 0.0
    assert not reference_rule(1e308, 20, 0.99)


def test_bernoulli_branches_in_proportion() -> None:
    assert sum(bernoulli_rule(0.3, n / 1000) for n in range(1000)) == 300
    assert not bernoulli_rule(0.0, 0.0)
    assert bernoulli_rule(1.0, 1.0 - 2.0**-53)


def test_the_random_rate_spends_the_budget_over_the_observations() -> None:
    assert random_rate(budget=4, global_samples=4, mean_observations=2.0) * 4 * 2 == 4
    assert random_rate(budget=9, global_samples=3, mean_observations=2.0) == 1.0
    assert random_rate(budget=4, global_samples=4, mean_observations=0.0) == 1.0
    assert random_rate(budget=0, global_samples=8, mean_observations=2.0) == 0.0


def test_the_quota_opens_evenly() -> None:
    assert [quota(4, i, 4.0) for i in range(1, 7)] == [1, 2, 3, 4, 4, 4]
    assert [quota(4, i, 3.0) for i in range(1, 4)] == [2, 3, 4]
    assert [quota(3, i, 1.2) for i in range(1, 3)] == [3, 3]
    assert quota(4, 1, 0.0) == 4
    assert [quota(4, i, 4.0, "none") for i in range(1, 3)] == [4, 4]


def test_rounding_of_the_mean_does_not_open_a_slot() -> None:
    mean = 21.0 * (1 - 1e-15)
    assert 30 * 7 / mean > 10
    assert quota(30, 7, mean) == 10


@given(st.integers(0, 64), st.floats(0.0, 20.0), st.integers(1, 30))
def test_the_quota_never_shrinks_and_ends_at_the_budget(budget: int, mean: float, last: int) -> None:
    quotas = [quota(budget, i, mean) for i in range(1, last + 1)]
    assert all(a <= b for a, b in pairwise(quotas))
    assert all(0 <= q <= budget for q in quotas)
    assert quota(budget, math.ceil(max(mean, 1.0)), mean) == budget


def test_pacing_counts_what_is_used() -> None:
    assert allowed(used=0, budget=4, observation=1, mean_observations=4.0)
    assert not allowed(used=1, budget=4, observation=1, mean_observations=4.0)
    assert allowed(used=1, budget=4, observation=1, mean_observations=4.0, pacing="none")
    assert not allowed(used=4, budget=4, observation=1, mean_observations=4.0, pacing="none")


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="unknown pacing 'odd', known are even, none"):
        quota(4, 1, 4.0, "odd")
    for rule in (branch_probability, reference_probability):
        with pytest.raises(ValueError, match="is nan"):
            rule(math.nan, 0)
