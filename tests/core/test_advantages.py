import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.advantages import entropy_aware, entropy_statistics, group_relative, whitened

REWARDS = [1.1, 1.0, 0.5, 0.0, 0.0, -1.0, -1.0, 0.0]
ADVANTAGES = [1.290646, 1.164729, 0.535146, -0.094437, -0.094437, -1.353604, -1.353604, -0.094437]

ENTROPIES = torch.tensor([[0.1, 2.0, 0.3, 0.0, 1.2], [0.5, 0.05, 3.0, 0.7, 9.9]])
MASK = torch.tensor([[1, 1, 1, 0, 1], [1, 1, 1, 1, 0]])
ACCURACY = torch.tensor([[0.707106], [-0.707106]])
MEAN, STD = 0.98125, 1.040583
SCALED = torch.tensor([[0.587339, 0.84556, 0.61452, 0.0, 0.736835], [-0.641701, -0.580544, -0.981466, -0.668882, 0.0]])

finite = st.floats(-(2.0**100), 2.0**100, width=32)
entropies = st.floats(0.0, 20.0)
tokens = st.tuples(entropies, st.booleans())
batches = st.lists(st.lists(tokens, min_size=4, max_size=4), min_size=1, max_size=6)


def tensors(batch: list[list[tuple[float, bool]]]) -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.tensor(batch, dtype=torch.float64)
    return table[..., 0], table[..., 1]


def test_golden_group_advantages() -> None:
    advantages = group_relative(torch.tensor(REWARDS), torch.zeros(8, dtype=torch.long))
    assert advantages.tolist() == pytest.approx(ADVANTAGES, abs=1e-6)


def test_golden_pair_of_rewards() -> None:
    advantages = group_relative(torch.tensor([1.1, 0.0]), torch.zeros(2, dtype=torch.long))
    assert advantages.tolist() == pytest.approx(ACCURACY.flatten().tolist(), abs=1e-6)


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=4), st.integers(1, 9))
def test_equal_rewards_and_groups_of_one_give_exactly_zero(rewards: list[float], size: int) -> None:
    # A third of three times 0.1 is not 0.1, so this is more than arithmetic.
    values = torch.tensor(rewards).repeat_interleave(size)
    groups = torch.arange(len(rewards)).repeat_interleave(size)
    assert (group_relative(values, groups) == 0).all()


@given(st.lists(st.tuples(finite, st.integers(-3, 3)), min_size=1, max_size=20), st.randoms())
def test_groups_are_compared_inside_only_and_in_any_order(rows: list[tuple[float, int]], random) -> None:
    rewards, groups = (torch.tensor(column) for column in zip(*rows, strict=True))
    advantages = group_relative(rewards, groups)
    assert torch.isfinite(advantages).all()
    for group in set(groups.tolist()):
        inside = rewards[groups == group].double().tolist()
        if len(set(inside)) == 1:
            expected = [0.0] * len(inside)
        else:
            mean, std = statistics.fmean(inside), statistics.stdev(inside)
            expected = [(r - mean) / (std + 1e-6) for r in inside]
        assert advantages[groups == group].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert torch.allclose(group_relative(rewards[order], groups[order]), advantages[order], atol=1e-6)


def test_group_shapes_and_types() -> None:
    whole = group_relative(torch.tensor([1, 0, 1]), torch.tensor([5, 5, 9]))
    assert whole.dtype == torch.float32
    assert group_relative(torch.tensor([1.0, 0.0], dtype=torch.float64), torch.tensor([0, 0])).dtype == torch.float64
    assert group_relative(torch.empty(0), torch.empty(0, dtype=torch.long)).shape == (0,)
    with pytest.raises(ValueError, match=r"rewards \(2, 1\) and groups \(2,\)"):
        group_relative(torch.ones(2, 1), torch.zeros(2, dtype=torch.long))


def test_golden_whitened_returns() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0]])
    expected = [[1.048503] * 3, [-0.149786] * 3, [-1.348076, -1.348076, 0.0]]
    found = whitened(torch.tensor([[1.0], [0.0], [-1.0]]), mask)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-6)
    assert torch.equal(whitened(torch.tensor([[1], [0], [-1]]), mask), found)
    # A reward that comes in the middle of a trajectory is a return of its own for each token.
    middle = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [-1.0, -1.0, 0.0]])
    assert torch.equal(whitened(middle, mask), found)


@given(batches, st.sampled_from([0.0, 1e30, math.inf, math.nan]))
def test_whitened_returns_have_mean_0_and_variance_1_over_trained_tokens_alone(
    batch: list[list[tuple[float, bool]]], garbage: float
) -> None:
    values, mask = tensors(batch)
    found = whitened(values.masked_fill(mask == 0, garbage), mask)
    inside = values[mask != 0].tolist()
    assert (found[mask == 0] == 0).all()
    if len(set(inside)) < 2:
        assert (found == 0).all()
    else:
        mean, variance = statistics.fmean(inside), statistics.variance(inside)
        expected = [(v - mean) / math.sqrt(variance + 1e-8) for v in inside]
        assert found[mask != 0].tolist() == pytest.approx(expected, abs=1e-9)
    padded = whitened(torch.nn.functional.pad(values, (0, 2), value=garbage), torch.nn.functional.pad(mask, (0, 2)))
    assert torch.allclose(padded[:, :-2], found, rtol=1e-12)


def test_returns_that_would_broadcast_by_accident_are_refused() -> None:
    for returns in (torch.ones(2), torch.ones(1, 5), torch.ones(2, 4)):
        with pytest.raises(ValueError, match=r"must be \(B, T\) or \(B, 1\)"):
            whitened(returns, MASK)


def test_golden_entropy_aware_advantages() -> None:
    mean, std = entropy_statistics(ENTROPIES, MASK)
    assert (mean.item(), std.item()) == pytest.approx((MEAN, STD), abs=1e-6)
    assert torch.allclose(entropy_aware(ACCURACY, ENTROPIES, MASK, 0.2), SCALED, atol=1e-6)
    assert torch.allclose(entropy_aware(ACCURACY.expand(2, 5), ENTROPIES, MASK), SCALED, atol=1e-6)


@given(batches, st.sampled_from([0.0, 1e30, -1e30, math.inf, -math.inf, math.nan]))
def test_what_the_mask_leaves_out_never_influences_anything(
    batch: list[list[tuple[float, bool]]], garbage: float
) -> None:
    values, mask = tensors(batch)
    advantages = torch.full_like(values, 0.7)
    dirty = values.masked_fill(mask == 0, garbage)
    clean = values.masked_fill(mask == 0, 0.0)
    expected = entropy_aware(advantages, clean, mask)
    assert torch.isfinite(expected).all()
    assert torch.equal(entropy_aware(advantages.masked_fill(mask == 0, garbage), dirty, mask), expected)
    assert (expected[mask == 0] == 0).all()
    wide = [torch.nn.functional.pad(x, (0, 2), value=garbage) for x in (advantages, dirty)]
    padded = entropy_aware(*wide, torch.nn.functional.pad(mask, (0, 2)))
    assert torch.allclose(padded[:, :-2], expected, rtol=1e-12)


@pytest.mark.parametrize("trained", [0, 1])
def test_fewer_than_two_trained_tokens_leave_advantages_as_they_are(trained: int) -> None:
    mask = torch.zeros(2, 5)
    mask[0, :trained] = 1
    assert torch.equal(entropy_aware(ACCURACY, ENTROPIES, mask), ACCURACY * mask)
    assert entropy_statistics(ENTROPIES, mask)[1].item() == 0.0


@given(entropies, st.integers(2, 9))
def test_equal_entropies_leave_advantages_exactly_as_they_are(entropy: float, count: int) -> None:
    values = torch.full((1, count), entropy)
    assert torch.equal(
        entropy_aware(torch.full((1, 1), 0.3), values, torch.ones(1, count)), torch.full((1, count), 0.3)
    )


@given(batches, st.floats(0.0, 50.0))
def test_no_advantage_changes_its_sign(batch: list[list[tuple[float, bool]]], weight: float) -> None:
    values, mask = tensors(batch)
    assert (entropy_aware(torch.ones_like(values), values, mask, weight) >= 0).all()
    assert (entropy_aware(torch.full_like(values, -1.0), values, mask, weight) <= 0).all()


def test_entropy_carries_no_gradient() -> None:
    values = ENTROPIES.clone().requires_grad_()
    assert not entropy_aware(ACCURACY, values, MASK).requires_grad


def test_shapes_that_would_broadcast_by_accident_are_refused() -> None:
    with pytest.raises(ValueError, match=r"use advantages\[:, None\]"):
        entropy_aware(torch.ones(5), ENTROPIES, MASK)
    with pytest.raises(ValueError, match="differ in shape"):
        entropy_aware(ACCURACY, ENTROPIES, MASK[:, :1])
