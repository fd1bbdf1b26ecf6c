import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.aggregation import MODES, aggregate

LOSS = torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
GOLDEN = {"token-mean": 1.4, "seq-mean-token-mean": 2.0, "seq-mean-token-sum": 3.5}

batches = st.lists(
    st.lists(st.tuples(st.floats(-10.0, 10.0), st.booleans()), min_size=3, max_size=3), min_size=1, max_size=6
)


def tensors(batch: list[list[tuple[float, bool]]]) -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.tensor(batch, dtype=torch.float64)
    return table[..., 0], table[..., 1]


@pytest.mark.parametrize(("mode", "expected"), GOLDEN.items())
def test_golden_aggregates(mode: str, expected: float) -> None:
    assert aggregate(LOSS, MASK, mode).item() == pytest.approx(expected, abs=1e-6)


def test_the_mean_over_tokens_is_the_default() -> None:
    assert aggregate(LOSS, MASK).item() == aggregate(LOSS, MASK, "token-mean").item()


@pytest.mark.parametrize("mode", MODES)
@given(batch=batches, size=st.integers(1, 6))
def test_micro_batches_add_up_to_the_whole(mode: str, batch: list[list[tuple[float, bool]]], size: int) -> None:
    loss, mask = tensors(batch)
    tokens, trajectories = int(mask.sum()), int(mask.any(-1).sum())
    parts = zip(loss.split(size), mask.split(size), strict=True)
    total = sum(aggregate(part, kept, mode, tokens, trajectories).item() for part, kept in parts)
    assert total == pytest.approx(aggregate(loss, mask, mode).item(), abs=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("garbage", [1e30, float("inf"), float("nan")])
def test_what_the_mask_leaves_out_never_counts(mode: str, garbage: float) -> None:
    loss = LOSS.clone().masked_fill(MASK == 0, garbage).requires_grad_()
    value = aggregate(loss, MASK, mode)
    value.backward()
    assert value.item() == pytest.approx(GOLDEN[mode], abs=1e-6)
    assert loss.grad is not None
    assert (loss.grad[MASK == 0] == 0).all()
    padded = aggregate(
        torch.nn.functional.pad(LOSS, (0, 3), value=garbage), torch.nn.functional.pad(MASK, (0, 3)), mode
    )
    assert padded.item() == pytest.approx(GOLDEN[mode], abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_trajectory_without_trained_tokens_is_not_counted(mode: str) -> None:
    loss, mask = torch.cat([LOSS, torch.full((1, 4), 7.0)]), torch.cat([MASK, torch.zeros(1, 4, dtype=torch.long)])
    assert aggregate(loss, mask, mode).item() == pytest.approx(GOLDEN[mode], abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_one_trained_token_is_its_own_mean(mode: str) -> None:
    mask = torch.zeros(2, 4)
    mask[1, 0] = 1
    assert aggregate(LOSS, mask, mode).item() == 3.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", [None, 0, 5])
def test_nothing_trained_gives_zero_and_no_gradient(mode: str, counts: int | None) -> None:
    loss = LOSS.clone().requires_grad_()
    value = aggregate(loss, torch.zeros(2, 4), mode, counts, counts)
    value.backward()
    assert value.item() == 0.0
    assert loss.grad is not None
    assert (loss.grad == 0).all()


def test_masks_may_be_of_any_type() -> None:
    for mask in (MASK.bool(), MASK.float(), MASK.long()):
        assert aggregate(LOSS, mask).item() == pytest.approx(1.4, abs=1e-6)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="unknown aggregation 'mean', known are token-mean, seq-mean-token-mean"):
        aggregate(LOSS, MASK, "mean")
    with pytest.raises(ValueError, match="tokens is -1"):
        aggregate(LOSS, MASK, "token-mean", tokens=-1)
