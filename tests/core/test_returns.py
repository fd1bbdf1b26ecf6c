import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.returns import discounted, overlong_penalty


def test_golden_overlong_penalties() -> None:
    lengths = torch.tensor([10000, 16384, 18432, 20480])
    assert overlong_penalty(lengths, 20480, 4096).tolist() == [0.0, 0.0, -0.5, -1.0]


@given(st.lists(st.integers(0, 500), min_size=1, max_size=9), st.integers(1, 300), st.just(0.0) | st.floats(0.01, 1.0))
def test_the_penalty_falls_with_length_and_stays_between_0_and_minus_1(
    lengths: list[int], limit: int, share: float
) -> None:
    found = overlong_penalty(torch.tensor(sorted(lengths)), limit, share * limit)
    assert ((found <= 0) & (found >= -1)).all()
    assert (found.diff() <= 0).all()
    assert (found[torch.tensor(sorted(lengths)) <= (1 - share) * limit - 1e-3] == 0).all()


def test_no_buffer_is_no_penalty_even_beyond_the_limit() -> None:
    assert overlong_penalty(torch.tensor([1, 10, 99]), 10, 0).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("buffer", [-1, 11, float("nan")])
def test_a_buffer_that_does_not_fit_is_refused(buffer: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and max_length = 10"):
        overlong_penalty(torch.tensor([1]), 10, buffer)


def test_golden_discounted_returns() -> None:
    turns = torch.tensor([[-1, 0, 0, -1, 1, 2], [-1, 0, 1, 1, 2, -1], [0, 0, -1, 1, -1, -1]])
    found = discounted(torch.tensor([1.0, 0.0, 1.0]), turns, 0.95)
    expected = [[0, 0.9025, 0.9025, 0, 0.95, 1.0], [0] * 6, [0.95, 0.95, 0, 1.0, 0, 0]]
    assert torch.allclose(found, torch.tensor(expected))


@pytest.mark.parametrize(("gamma", "expected"), [(1.0, [2.0, 2.0]), (0.0, [0.0, 2.0])])
def test_the_ends_of_gamma(gamma: float, expected: list[float]) -> None:
    found = discounted(torch.tensor([2.0, 5.0]), torch.tensor([[0, 1], [-1, -1]]), gamma)
    assert found.tolist() == [expected, [0.0, 0.0]]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rewards \(2, 1\) must be \(B,\)"):
        discounted(torch.ones(2, 1), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"gamma is 1\.1"):
        discounted(torch.ones(2), torch.zeros(2, 3), 1.1)
    assert discounted(torch.ones(2), torch.zeros(2, 0)).shape == (2, 0)
