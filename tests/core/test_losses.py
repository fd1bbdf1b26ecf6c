import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aepo.core.losses import clip_fractions, clipped, entropy_balanced, gradient_preserving, kl_k3

GOLDEN = [
    # A, ratio, value of both losses, dL/dlogp: PPO, entropy-balanced, entropy-balanced without dual clip
    (1.0, 0.5, -0.5, -0.5, -0.5, -0.5),
    (1.0, 0.79, -0.79, -0.79, -0.79, -0.79),
    (1.0, 0.9, -0.9, -0.9, -0.9, -0.9),
    (1.0, 1.0, -1.0, -1.0, -1.0, -1.0),
    (1.0, 1.1, -1.1, -1.1, -1.1, -1.1),
    (1.0, 1.19, -1.19, -1.19, -1.19, -1.19),
    (1.0, 1.21, -1.2, 0.0, -1.2, -1.2),
    (1.0, 1.5, -1.2, 0.0, -1.2, -1.2),
    (1.0, 2.0, -1.2, 0.0, -1.2, -1.2),
    (1.0, 2.9, -1.2, 0.0, -1.2, -1.2),
    (1.0, 3.5, -1.2, 0.0, -1.2, -1.2),
    (1.0, 5.0, -1.2, 0.0, -1.2, -1.2),
    (-1.0, 0.5, 0.8, 0.0, 0.0, 0.0),
    (-1.0, 0.79, 0.8, 0.0, 0.0, 0.0),
    (-1.0, 0.9, 0.9, 0.9, 0.9, 0.9),
    (-1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    (-1.0, 1.1, 1.1, 1.1, 1.1, 1.1),
    (-1.0, 1.19, 1.19, 1.19, 1.19, 1.19),
    (-1.0, 1.21, 1.21, 1.21, 1.21, 1.21),
    (-1.0, 1.5, 1.5, 1.5, 1.5, 1.5),
    (-1.0, 2.0, 2.0, 2.0, 2.0, 2.0),
    (-1.0, 2.9, 2.9, 2.9, 2.9, 2.9),
    (-1.0, 3.5, 3.0, 0.0, 0.0, 3.5),
    (-1.0, 5.0, 3.0, 0.0, 0.0, 5.0),
    (0.5, 0.5, -0.25, -0.25, -0.25, -0.25),
    (0.5, 0.79, -0.395, -0.395, -0.395, -0.395),
    (0.5, 0.9, -0.45, -0.45, -0.45, -0.45),
    (0.5, 1.0, -0.5, -0.5, -0.5, -0.5),
    (0.5, 1.1, -0.55, -0.55, -0.55, -0.55),
    (0.5, 1.19, -0.595, -0.595, -0.595, -0.595),
    (0.5, 1.21, -0.6, 0.0, -0.6, -0.6),
    (0.5, 1.5, -0.6, 0.0, -0.6, -0.6),
    (0.5, 2.0, -0.6, 0.0, -0.6, -0.6),
    (0.5, 2.9, -0.6, 0.0, -0.6, -0.6),
    (0.5, 3.5, -0.6, 0.0, -0.6, -0.6),
    (0.5, 5.0, -0.6, 0.0, -0.6, -0.6),
    (-2.0, 0.5, 1.6, 0.0, 0.0, 0.0),
    (-2.0, 0.79, 1.6, 0.0, 0.0, 0.0),
    (-2.0, 0.9, 1.8, 1.8, 1.8, 1.8),
    (-2.0, 1.0, 2.0, 2.0, 2.0, 2.0),
    (-2.0, 1.1, 2.2, 2.2, 2.2, 2.2),
    (-2.0, 1.19, 2.38, 2.38, 2.38, 2.38),
    (-2.0, 1.21, 2.42, 2.42, 2.42, 2.42),
    (-2.0, 1.5, 3.0, 3.0, 3.0, 3.0),
    (-2.0, 2.0, 4.0, 4.0, 4.0, 4.0),
    (-2.0, 2.9, 5.8, 5.8, 5.8, 5.8),
    (-2.0, 3.5, 6.0, 0.0, 0.0, 7.0),
    (-2.0, 5.0, 6.0, 0.0, 0.0, 10.0),
]

LOSSES = [clipped, entropy_balanced, gradient_preserving]

log_ratios = st.one_of(st.floats(-2.0, 2.0), st.floats(-25.0, 25.0), st.floats(-1e4, 1e4))
table_rows = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-1e3, 1e3))
signs = st.sampled_from([-1.0, 1.0])


def value_and_gradient(loss, log_ratio: float, advantage: float, **clips: float | None) -> tuple[float, float]:
    logprobs = torch.tensor([[log_ratio]], dtype=torch.float64, requires_grad=True)
    old, advantages = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[advantage]], dtype=torch.float64)
    value: Tensor = loss(logprobs, old, advantages, **clips)
    value.sum().backward()
    assert logprobs.grad is not None
    return value.item(), logprobs.grad.item()


@pytest.mark.parametrize(("advantage", "ratio", "value", "ppo", "balanced", "no_dual"), GOLDEN)
def test_golden_losses_and_gradients(
    advantage: float, ratio: float, value: float, ppo: float, balanced: float, no_dual: float
) -> None:
    at = math.log(ratio)
    assert value_and_gradient(clipped, at, advantage) == pytest.approx((value, ppo), abs=1e-6)
    assert value_and_gradient(entropy_balanced, at, advantage) == pytest.approx((value, balanced), abs=1e-6)
    _, gradient = value_and_gradient(entropy_balanced, at, advantage, dual_clip=None)
    assert gradient == pytest.approx(no_dual, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_without_dual_clip_a_bad_token_counts_in_full(loss) -> None:
    assert value_and_gradient(loss, math.log(5.0), -2.0, dual_clip=None) == pytest.approx((10.0, 10.0))


@given(log_ratios, signs, st.floats(0.01, 0.9), st.floats(0.01, 2.0), st.sampled_from([None, 1.5, 3.0]))
def test_gradient_factors(at: float, advantage: float, low: float, high: float, dual: float | None) -> None:
    ratio = math.exp(max(-20.0, min(20.0, at)))
    factor = ratio if -20.0 <= at <= 20.0 else 0.0
    kept = factor
    if advantage > 0 and ratio > 1 + high:
        factor, kept = 0.0, 1 + high
    if advantage < 0 and (ratio < 1 - low or (dual is not None and ratio > dual)):
        factor = kept = 0.0
    for loss, expected in ((clipped, factor), (entropy_balanced, kept)):
        _, gradient = value_and_gradient(loss, at, advantage, clip_low=low, clip_high=high, dual_clip=dual)
        assert gradient == pytest.approx(-expected * advantage, rel=1e-9, abs=1e-12)


@given(log_ratios, st.floats(-10.0, 10.0), st.sampled_from([None, 3.0]))
def test_all_losses_have_the_value_of_the_formula(at: float, advantage: float, dual: float | None) -> None:
    ratio = math.exp(max(-20.0, min(20.0, at)))
    expected = -min(ratio * advantage, max(0.8, min(1.2, ratio)) * advantage)
    if dual is not None and advantage < 0:
        expected = min(expected, -dual * advantage)
    for loss in LOSSES:
        assert value_and_gradient(loss, at, advantage, dual_clip=dual)[0] == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(rows=st.lists(table_rows, min_size=1, max_size=8))
def test_any_finite_input_gives_a_finite_loss_and_gradient(loss, dtype: torch.dtype, rows) -> None:
    table = torch.tensor([*rows, (1e4, -1e4, 1.0), (-1e4, 1e4, -1.0)]).to(dtype)
    for dual in (None, 3.0):
        logprobs = table[None, :, 0].clone().requires_grad_()
        value = loss(logprobs, table[None, :, 1], table[None, :, 2].float(), dual_clip=dual)
        value.sum().backward()
        assert value.shape == (1, len(table))
        assert torch.isfinite(value).all()
        assert logprobs.grad is not None
        if dtype != torch.float16 or dual is not None:  # e^20 itself is beyond float16
            assert torch.isfinite(logprobs.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
@given(log_ratios)
def test_no_advantage_gives_no_gradient(loss, at: float) -> None:
    assert value_and_gradient(loss, at, 0.0) == (0.0, 0.0)
    assert value_and_gradient(loss, at, 0.0, dual_clip=None) == (0.0, 0.0)


@pytest.mark.parametrize("loss", LOSSES)
@given(log_ratios, st.floats(-5.0, 5.0))
def test_losses_are_positively_homogeneous_in_the_advantage(loss, at: float, advantage: float) -> None:
    value, gradient = value_and_gradient(loss, at, advantage, dual_clip=2.0)
    one, slope = value_and_gradient(loss, at, math.copysign(1.0, advantage), dual_clip=2.0)
    assert (value, gradient) == pytest.approx((abs(advantage) * one, abs(advantage) * slope), abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_token_depends_on_nothing_but_itself(loss) -> None:
    generator = torch.Generator().manual_seed(0)
    logprobs, old, advantages = torch.randn(3, 4, 6, generator=generator)
    whole = loss(logprobs, old, advantages)
    other = loss(torch.where(torch.arange(6) == 2, logprobs, logprobs + 1.0), old, advantages)
    assert torch.equal(whole[:, 2], other[:, 2])
    assert torch.equal(loss(logprobs[1:3], old[1:3], advantages[1:3]), whole[1:3])
    assert torch.equal(loss(logprobs, old, advantages[:, :1]), loss(logprobs, old, advantages[:, :1].expand(4, 6)))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_gradient_flows_into_the_old_policy(loss) -> None:
    logprobs = torch.tensor([[0.1]], requires_grad=True)
    loss(logprobs, logprobs, torch.ones(1, 1)).sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.item() == -1.0


@pytest.mark.parametrize("clips", [{"clip_low": -0.1}, {"clip_low": 1.1}, {"clip_high": -0.1}, {"dual_clip": 0.9}])
@pytest.mark.parametrize("loss", LOSSES)
def test_impossible_clips_are_named(loss, clips: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(clips))):
        loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), **clips)


@given(log_ratios)
def test_k3_is_never_negative_and_stays_finite(at: float) -> None:
    logprobs = torch.tensor([[at]], dtype=torch.float64, requires_grad=True)
    value = kl_k3(logprobs, torch.zeros(1, 1, dtype=torch.float64))
    value.sum().backward()
    assert logprobs.grad is not None
    inside = abs(at) <= 20.0
    d = max(-20.0, min(20.0, -at))
    assert value.item() == pytest.approx(math.exp(d) - d - 1.0, rel=1e-6, abs=1e-9)
    assert value.item() >= 0.0
    assert logprobs.grad.item() == pytest.approx(1.0 - math.exp(d) if inside else 0.0, rel=1e-6, abs=1e-9)


def test_k3_is_unbiased() -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    expected = (policy * (policy / reference).log()).sum()
    assert (policy * kl_k3(policy.log(), reference.log())).sum().item() == pytest.approx(expected.item(), abs=1e-6)


def test_clip_fractions_count_trained_tokens_where_clipping_would_cut() -> None:
    ratios = torch.tensor([[0.5, 0.5, 1.5, 1.5, 1.0, 9.0, 0.1, float("nan")]])
    advantages = torch.tensor([[-1.0, 1.0, -1.0, 1.0, 1.0, 0.0, -1.0, 1.0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0, 0]])
    low, high = clip_fractions(ratios.log(), torch.zeros(1, 8), advantages, mask)
    assert (low.item(), high.item()) == pytest.approx((1 / 6, 1 / 6))
    low, high = clip_fractions(ratios.log(), torch.zeros(1, 8), advantages, mask, clip_low=0.6, clip_high=0.6)
    assert (low.item(), high.item()) == (0.0, 0.0)


def test_clip_fractions_of_nothing_are_zero() -> None:
    low, high = clip_fractions(torch.ones(1, 2), torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1, 2))
    assert (low.item(), high.item()) == (0.0, 0.0)
