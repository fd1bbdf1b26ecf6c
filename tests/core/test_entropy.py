import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.entropy import EntropyScale, token_entropy, topk_entropy

TOP_TEN = [0.6, 0.2, 0.1, 0.05, 0.02, 0.01, 0.008, 0.005, 0.004, 0.003]
logit_rows = st.lists(st.floats(-30.0, 30.0, width=32), min_size=1, max_size=12)


def test_golden_full_entropies() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    assert token_entropy(logits).item() == pytest.approx(0.947537, abs=1e-6)
    assert token_entropy(logits, temperature=0.5).item() == pytest.approx(0.455429, abs=1e-6)


def test_golden_top_ten_entropies() -> None:
    assert topk_entropy(torch.tensor(TOP_TEN).log()).item() == pytest.approx(1.237352, abs=2e-6)
    assert topk_entropy(torch.full((10,), 0.1).log()).item() == pytest.approx(2.302585, abs=2e-6)


@given(logit_rows, st.floats(0.1, 5.0))
def test_entropy_is_the_sum_of_its_definition(row: list[float], temperature: float) -> None:
    weights = [math.exp((z - max(row)) / temperature) for z in row]
    p = [w / sum(weights) for w in weights]
    expected = -sum(x * math.log(x) for x in p if x > 0.0)
    assert token_entropy(torch.tensor(row, dtype=torch.float64), temperature).item() == pytest.approx(
        expected, abs=1e-9
    )
    assert token_entropy(torch.tensor(row), temperature).item() == pytest.approx(expected, abs=1e-4)


def test_masked_tokens_have_no_part() -> None:
    masked = torch.tensor([2.0, -torch.inf, 1.0, 0.0, -torch.inf, -1.0])
    assert token_entropy(masked).item() == pytest.approx(0.947537, abs=1e-6)
    assert token_entropy(torch.tensor([-torch.inf, 3.0, -torch.inf])).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_precision(dtype: torch.dtype) -> None:
    entropies = token_entropy(torch.zeros(2, 3, 1000, dtype=dtype))
    assert entropies.shape == (2, 3)
    assert entropies.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(entropies.double(), torch.tensor(math.log(1000), dtype=torch.float64), atol=1e-5)


@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=8), st.floats(0.01, 100.0))
def test_any_finite_logits_give_a_finite_entropy_and_gradient(row: list[float], temperature: float) -> None:
    logits = torch.tensor([*row, -torch.inf], requires_grad=True)
    entropy = token_entropy(logits, temperature)
    entropy.backward()
    assert -1e-6 <= entropy.item() <= math.log(len(row)) + 1e-5
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@given(logit_rows)
def test_a_shift_of_all_logits_changes_nothing(row: list[float]) -> None:
    logits = torch.tensor(row, dtype=torch.float64)
    assert token_entropy(logits + 1e6).item() == pytest.approx(token_entropy(logits).item(), abs=1e-6)


@given(st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=40), st.integers(1, 40))
def test_the_top_tokens_give_a_lower_bound_that_closes(row: list[float], q: int) -> None:
    logits = torch.tensor(row, dtype=torch.float64)
    top = torch.log_softmax(logits, -1).sort(descending=True).values
    full = token_entropy(logits).item()
    bound = topk_entropy(top[:q]).item()
    assert 0.0 <= bound <= full + 1e-9
    assert bound <= topk_entropy(top[: q + 1]).item() + 1e-9
    if q >= len(row):
        assert bound == pytest.approx(full, abs=1e-9)


def test_the_bound_survives_rounding_and_impossible_tokens() -> None:
    above_one = torch.tensor([[0.7, 0.3000001]]).log()
    assert torch.isfinite(topk_entropy(above_one)).all()
    assert topk_entropy(torch.tensor([0.0, -torch.inf])).item() == 0.0


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature is 0"):
        token_entropy(torch.zeros(3), 0.0)


def test_the_scale_is_found_beside_the_entropies() -> None:
    assert EntropyScale("nats")(0.5) == 0.5
