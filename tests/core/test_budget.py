import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.budget import global_samples, least_global_samples

GOLDEN = [
    # k, H_root, H_tool, beta, k sigmoid(beta (H_root - H_tool)), m
    (12, 1.0, 1.0, 0.5, 6.0, 6),
    (12, 1.0, 1.0, 1.0, 6.0, 6),
    (12, 1.0, 1.0, 2.0, 6.0, 6),
    (12, 1.5, 1.0, 0.5, 6.746118, 7),
    (12, 1.5, 1.0, 1.0, 7.469512, 7),
    (12, 1.5, 1.0, 2.0, 8.772703, 9),
    (12, 1.0, 1.5, 0.5, 5.253882, 5),
    (12, 1.0, 1.5, 1.0, 4.530488, 5),
    (12, 1.0, 1.5, 2.0, 3.227297, 3),
    (12, 3.0, 1.0, 0.5, 8.772703, 9),
    (12, 3.0, 1.0, 1.0, 10.569565, 11),
    (12, 3.0, 1.0, 2.0, 11.784165, 12),
    (12, 1.0, 3.0, 0.5, 3.227297, 3),
    (12, 1.0, 3.0, 1.0, 1.430435, 1),
    (12, 1.0, 3.0, 2.0, 0.215835, 1),
    (12, 0.0, 0.0, 0.5, 6.0, 6),
    (12, 0.0, 0.0, 1.0, 6.0, 6),
    (12, 0.0, 0.0, 2.0, 6.0, 6),
    (12, 10.0, 0.0, 0.5, 11.919686, 12),
    (12, 10.0, 0.0, 1.0, 11.999455, 12),
    (12, 10.0, 0.0, 2.0, 12.0, 12),
    (12, 0.0, 10.0, 0.5, 0.080314, 1),
    (12, 0.0, 10.0, 1.0, 0.000545, 1),
    (12, 0.0, 10.0, 2.0, 0.0, 1),
    (16, 1.0, 1.0, 0.5, 8.0, 8),
    (16, 1.0, 1.0, 1.0, 8.0, 8),
    (16, 1.0, 1.0, 2.0, 8.0, 8),
    (16, 1.5, 1.0, 0.5, 8.994824, 9),
    (16, 1.5, 1.0, 1.0, 9.959349, 10),
    (16, 1.5, 1.0, 2.0, 11.696937, 12),
    (16, 1.0, 1.5, 0.5, 7.005176, 7),
    (16, 1.0, 1.5, 1.0, 6.040651, 6),
    (16, 1.0, 1.5, 2.0, 4.303063, 4),
    (16, 3.0, 1.0, 0.5, 11.696937, 12),
    (16, 3.0, 1.0, 1.0, 14.092753, 14),
    (16, 3.0, 1.0, 2.0, 15.712221, 16),
    (16, 1.0, 3.0, 0.5, 4.303063, 4),
    (16, 1.0, 3.0, 1.0, 1.907247, 2),
    (16, 1.0, 3.0, 2.0, 0.287779, 1),
    (16, 0.0, 0.0, 0.5, 8.0, 8),
    (16, 0.0, 0.0, 1.0, 8.0, 8),
    (16, 0.0, 0.0, 2.0, 8.0, 8),
    (16, 10.0, 0.0, 0.5, 15.892914, 16),
    (16, 10.0, 0.0, 1.0, 15.999274, 16),
    (16, 10.0, 0.0, 2.0, 16.0, 16),
    (16, 0.0, 10.0, 0.5, 0.107086, 1),
    (16, 0.0, 10.0, 1.0, 0.000726, 1),
    (16, 0.0, 10.0, 2.0, 0.0, 1),
]

gaps = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0.0, 1.0)


@pytest.mark.parametrize(("k", "root", "tool", "beta", "real", "m"), GOLDEN)
def test_golden_budgets(k: int, root: float, tool: float, beta: float, real: float, m: int) -> None:
    assert global_samples(root - tool, k, beta, probes=1, min_global=0.0) == m
    assert m == min(max(math.floor(real + 0.5), 1), k)


def test_the_clamp_keeps_a_quarter_and_the_probes() -> None:
    assert global_samples(-100.0, 12) == 3
    assert global_samples(-100.0, 12, probes=5) == 5
    assert global_samples(-100.0, 13) == 4
    assert global_samples(100.0, 12, probes=5) == 12
    assert global_samples(-100.0, 12, probes=0, min_global=0.0) == 1


def test_rounding_of_the_share_does_not_add_a_sample() -> None:
    assert 0.07 * 100 > 7
    assert least_global_samples(100, 1, 0.07) == 7


@given(gaps, gaps, st.integers(1, 64), st.floats(0.0, 10.0), shares, st.data())
def test_budget_grows_with_the_gap_and_stays_in_its_range(
    one: float, other: float, k: int, beta: float, share: float, data: st.DataObject
) -> None:
    probes = data.draw(st.integers(0, k))
    low, high = (global_samples(gap, k, beta, probes, share) for gap in sorted((one, other)))
    # A share within 1e-9 above a whole number of samples asks for that number.
    least = max(probes, math.ceil(Fraction(share) * k - Fraction(2, 10**9)), 1)
    assert least <= low <= high <= k


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gap": math.nan, "group_size": 8}, "gap is nan"),
        ({"gap": 0.0, "group_size": 0}, "group_size is 0"),
        ({"gap": 0.0, "group_size": 4, "probes": 5}, "probes is 5"),
        ({"gap": 0.0, "group_size": 4, "min_global": 1.5}, "min_global is 1.5"),
    ],
)
def test_impossible_budgets_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        global_samples(**arguments)
