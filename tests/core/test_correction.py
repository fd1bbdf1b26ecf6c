import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aepo.core.correction import KINDS, LEVELS, correction

# Ratios 3, 1, 0.25 and 1.5; the last token of the second row is not trained.
SAMPLED = torch.tensor([[-1.0, -2.0], [-3.0, -0.5], [-1.0, -9.0]])
RATIO = torch.tensor([[3.0, 1.0], [0.25, 1.5], [2.0, 7.0]])
LOGPROBS = SAMPLED + RATIO.log()
MASK = torch.tensor([[1, 1], [1, 1], [1, 0]])

differences = st.one_of(st.floats(-3.0, 3.0), st.sampled_from([-1e4, 1e4, 0.0]))
tables = st.lists(st.lists(st.tuples(differences, st.booleans()), min_size=3, max_size=3), min_size=1, max_size=5)
kinds, levels, caps = st.sampled_from(KINDS), st.sampled_from(LEVELS), st.floats(1.0, 10.0)


def tensors(table: list[list[tuple[float, bool]]]) -> tuple[Tensor, Tensor, Tensor]:
    both = torch.tensor(table, dtype=torch.float64)
    sampled = torch.full_like(both[..., 0], -1.5)
    return both[..., 0] + sampled, sampled, both[..., 1]


@pytest.mark.parametrize(
    ("kind", "level", "floor", "weights", "cut", "dropped"),
    [
        ("truncate", "token", None, [[2, 1], [0.25, 1.5], [2, 0]], 1 / 5, 0),
        ("mask", "token", None, [[0, 1], [0.25, 1.5], [2, 0]], 1 / 5, 0),
        ("mask", "token", 0.5, [[0, 1], [0, 1.5], [2, 0]], 2 / 5, 0),
        ("truncate", "sequence", None, [[2, 2], [0.375, 0.375], [2, 0]], 2 / 5, 0),
        ("mask", "sequence", None, [[0, 0], [0.375, 0.375], [2, 0]], 2 / 5, 1 / 3),
        ("mask", "sequence", 0.5, [[0, 0], [0, 0], [2, 0]], 4 / 5, 2 / 3),
    ],
)
def test_worked_by_hand(
    kind: str, level: str, floor: float | None, weights: list[list[float]], cut: float, dropped: float
) -> None:
    found = correction(LOGPROBS, SAMPLED, MASK, kind, level, 2.0 + 1e-6, floor)
    assert torch.allclose(found.weights, torch.tensor(weights, dtype=torch.float32), atol=1e-5)
    assert found.cut_share == pytest.approx(cut) and found.dropped_share == pytest.approx(dropped)
    flat = [w for w, m in zip(found.weights.flatten().tolist(), MASK.flatten().tolist(), strict=True) if m]
    assert found.effective_sample_size == pytest.approx(sum(flat) ** 2 / (5 * sum(w * w for w in flat)))


@given(tables, kinds, levels, caps)
def test_weights_are_bounded_and_without_gradient(table, kind: str, level: str, cap: float) -> None:
    logprobs, sampled, mask = tensors(table)
    found = correction(logprobs.requires_grad_(), sampled, mask, kind, level, cap)
    assert not found.weights.requires_grad and found.weights.dtype == torch.float64
    assert (found.weights >= 0).all() and (found.weights <= cap).all()
    assert (found.weights[mask == 0] == 0).all()
    assert 0 <= found.cut_share <= 1 and 0 <= found.dropped_share <= 1
    assert found.effective_sample_size <= 1 + 1e-9


@given(tables, kinds, levels)
def test_where_both_agree_nothing_changes(table, kind: str, level: str) -> None:
    _, sampled, mask = tensors(table)
    found = correction(sampled, sampled, mask, kind, level)
    assert torch.equal(found.weights, mask)
    assert found.cut_share == found.dropped_share == 0
    assert found.effective_sample_size == (1.0 if mask.any() else 0.0)


@given(tables, levels, caps)
def test_both_kinds_agree_inside_the_bounds(table, level: str, cap: float) -> None:
    truncated, masked = (correction(*tensors(table), kind, level, cap) for kind in ("truncate", "mask"))
    inside = masked.weights != 0
    assert torch.equal(truncated.weights[inside], masked.weights[inside])
    assert truncated.cut_share == masked.cut_share


@given(tables, kinds, caps)
def test_a_trajectory_of_one_token_is_a_sequence(table, kind: str, cap: float) -> None:
    alone = [part.reshape(-1, 1) for part in tensors(table)]
    assert torch.equal(
        correction(*alone, kind, "token", cap).weights, correction(*alone, kind, "sequence", cap).weights
    )


@pytest.mark.parametrize("garbage", [1e30, math.inf, math.nan])
@pytest.mark.parametrize("level", LEVELS)
def test_what_the_mask_leaves_out_is_never_read(level: str, garbage: float) -> None:
    dirty = correction(LOGPROBS.masked_fill(MASK == 0, garbage), SAMPLED, MASK, level=level)
    assert torch.equal(dirty.weights, correction(LOGPROBS, SAMPLED, MASK, level=level).weights)


def test_a_nan_is_not_hidden() -> None:
    assert correction(LOGPROBS.masked_fill(RATIO == 3.0, math.nan), SAMPLED, MASK).weights[0, 0].isnan()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "none"}, "unknown correction 'none', known are truncate, mask"),
        ({"level": "turn"}, "unknown level 'turn', known are token, sequence"),
        ({"cap": 0.0}, "cap is 0.0, it must be above 0"),
        ({"floor": 0.5}, "floor is for mask"),
        ({"kind": "mask", "floor": 3.0}, "floor is 3.0, it must be above 0 and at most cap, 2.0"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        correction(LOGPROBS, SAMPLED, MASK, **changes)
