"""The losses of the baselines: worked numbers, and which tokens keep a gradient."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aepo.core.losses import cispo, clipped, gradient_preserving

GOLDEN = [
    # A, ratio; value and dL/dlogp of: GPPO (0.2 / 0.2), CISPO (0.2 / 0.2, both bounds), DAPO (0.2 / 0.28)
    (1.0, 0.5, -0.5, -0.5, 0.554518, -0.8, -0.5, -0.5),
    (1.0, 0.79, -0.79, -0.79, 0.188578, -0.8, -0.79, -0.79),
    (1.0, 0.9, -0.9, -0.9, 0.094824, -0.9, -0.9, -0.9),
    (1.0, 1.0, -1.0, -1.0, 0.0, -1.0, -1.0, -1.0),
    (1.0, 1.1, -1.1, -1.1, -0.104841, -1.1, -1.1, -1.1),
    (1.0, 1.19, -1.19, -1.19, -0.207004, -1.19, -1.19, -1.19),
    (1.0, 1.21, -1.2, -1.2, -0.228744, -1.2, -1.21, -1.21),
    (1.0, 1.5, -1.2, -1.2, -0.486558, -1.2, -1.28, 0.0),
    (1.0, 2.0, -1.2, -1.2, -0.831777, -1.2, -1.28, 0.0),
    (1.0, 2.9, -1.2, -1.2, -1.277653, -1.2, -1.28, 0.0),
    (1.0, 3.5, -1.2, -1.2, -1.503316, -1.2, -1.28, 0.0),
    (1.0, 5.0, -1.2, -1.2, -1.931325, -1.2, -1.28, 0.0),
    (-1.0, 0.5, 0.8, 0.8, -0.554518, 0.8, 0.8, 0.0),
    (-1.0, 0.79, 0.8, 0.8, -0.188578, 0.8, 0.8, 0.0),
    (-1.0, 0.9, 0.9, 0.9, -0.094824, 0.9, 0.9, 0.9),
    (-1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0),
    (-1.0, 1.1, 1.1, 1.1, 0.104841, 1.1, 1.1, 1.1),
    (-1.0, 1.19, 1.19, 1.19, 0.207004, 1.19, 1.19, 1.19),
    (-1.0, 1.21, 1.21, 1.21, 0.228744, 1.2, 1.21, 1.21),
    (-1.0, 1.5, 1.5, 1.5, 0.486558, 1.2, 1.5, 1.5),
    (-1.0, 2.0, 2.0, 2.0, 0.831777, 1.2, 2.0, 2.0),
    (-1.0, 2.9, 2.9, 2.9, 1.277653, 1.2, 2.9, 2.9),
    (-1.0, 3.5, 3.0, 0.0, 1.503316, 1.2, 3.0, 0.0),
    (-1.0, 5.0, 3.0, 0.0, 1.931325, 1.2, 3.0, 0.0),
    (0.5, 0.5, -0.25, -0.25, 0.277259, -0.4, -0.25, -0.25),
    (0.5, 0.79, -0.395, -0.395, 0.094289, -0.4, -0.395, -0.395),
    (0.5, 0.9, -0.45, -0.45, 0.047412, -0.45, -0.45, -0.45),
    (0.5, 1.0, -0.5, -0.5, 0.0, -0.5, -0.5, -0.5),
    (0.5, 1.1, -0.55, -0.55, -0.052421, -0.55, -0.55, -0.55),
    (0.5, 1.19, -0.595, -0.595, -0.103502, -0.595, -0.595, -0.595),
    (0.5, 1.21, -0.6, -0.6, -0.114372, -0.6, -0.605, -0.605),
    (0.5, 1.5, -0.6, -0.6, -0.243279, -0.6, -0.64, 0.0),
    (0.5, 2.0, -0.6, -0.6, -0.415888, -0.6, -0.64, 0.0),
    (0.5, 2.9, -0.6, -0.6, -0.638826, -0.6, -0.64, 0.0),
    (0.5, 3.5, -0.6, -0.6, -0.751658, -0.6, -0.64, 0.0),
    (0.5, 5.0, -0.6, -0.6, -0.965663, -0.6, -0.64, 0.0),
    (-2.0, 0.5, 1.6, 1.6, -1.109035, 1.6, 1.6, 0.0),
    (-2.0, 0.79, 1.6, 1.6, -0.377156, 1.6, 1.6, 0.0),
    (-2.0, 0.9, 1.8, 1.8, -0.189649, 1.8, 1.8, 1.8),
    (-2.0, 1.0, 2.0, 2.0, 0.0, 2.0, 2.0, 2.0),
    (-2.0, 1.1, 2.2, 2.2, 0.209682, 2.2, 2.2, 2.2),
    (-2.0, 1.19, 2.38, 2.38, 0.414009, 2.38, 2.38, 2.38),
    (-2.0, 1.21, 2.42, 2.42, 0.457489, 2.4, 2.42, 2.42),
    (-2.0, 1.5, 3.0, 3.0, 0.973116, 2.4, 3.0, 3.0),
    (-2.0, 2.0, 4.0, 4.0, 1.663553, 2.4, 4.0, 4.0),
    (-2.0, 2.9, 5.8, 5.8, 2.555306, 2.4, 5.8, 5.8),
    (-2.0, 3.5, 6.0, 0.0, 3.006631, 2.4, 6.0, 0.0),
    (-2.0, 5.0, 6.0, 0.0, 3.862651, 2.4, 6.0, 0.0),
]

log_ratios = st.one_of(st.floats(-2.0, 2.0), st.floats(-25.0, 25.0), st.floats(-1e4, 1e4))
advantages = st.floats(-5.0, 5.0)
weights = st.floats(0.0, 2.0)


def value_and_gradient(loss, log_ratio: float, advantage: float, **settings: float | None) -> tuple[float, float]:
    logprobs = torch.tensor([[log_ratio]], dtype=torch.float64, requires_grad=True)
    old, given_advantages = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([[advantage]], dtype=torch.float64)
    value: Tensor = loss(logprobs, old, given_advantages, **settings)
    value.sum().backward()
    assert logprobs.grad is not None
    return value.item(), logprobs.grad.item()


@pytest.mark.parametrize(("advantage", "ratio", "gppo", "d_gppo", "is_value", "d_is", "dapo", "d_dapo"), GOLDEN)
def test_golden_losses_and_gradients(
    advantage: float,
    ratio: float,
    gppo: float,
    d_gppo: float,
    is_value: float,
    d_is: float,
    dapo: float,
    d_dapo: float,
) -> None:
    at = math.log(ratio)
    assert value_and_gradient(gradient_preserving, at, advantage) == pytest.approx((gppo, d_gppo), abs=1e-6)
    bounded = value_and_gradient(cispo, at, advantage, clip_low=0.2, clip_high=0.2)
    assert bounded == pytest.approx((is_value, d_is), abs=1e-6)
    assert value_and_gradient(clipped, at, advantage, clip_high=0.28) == pytest.approx((dapo, d_dapo), abs=1e-6)


def test_cispo_sets_no_lower_bound_and_1_28_above() -> None:
    for ratio, weight in ((0.01, 0.01), (0.5, 0.5), (1.27, 1.27), (1.29, 1.28), (50.0, 1.28)):
        at = math.log(ratio)
        assert value_and_gradient(cispo, at, -2.0) == pytest.approx((2.0 * weight * at, 2.0 * weight))


@given(log_ratios, st.sampled_from([-1.0, 1.0]), st.floats(0.01, 0.9), st.floats(0.01, 2.0), weights, weights)
def test_gradient_preserving_factors(
    at: float, sign: float, low: float, high: float, beta1: float, beta2: float
) -> None:
    ratio = math.exp(max(-20.0, min(20.0, at)))
    factor = ratio if -20.0 <= at <= 20.0 else 0.0
    if sign > 0 and ratio > 1 + high:
        factor = beta2 * (1 + high)
    if sign < 0 and ratio < 1 - low:
        factor = beta1 * (1 - low)
    settings = {"clip_low": low, "clip_high": high, "beta1": beta1, "beta2": beta2, "dual_clip": None}
    _, gradient = value_and_gradient(gradient_preserving, at, sign, **settings)
    assert gradient == pytest.approx(-factor * sign, rel=1e-9, abs=1e-12)


@given(log_ratios, advantages, st.sampled_from([None, 3.0]))
def test_weights_of_0_leave_the_gradient_of_ordinary_clipping(at: float, advantage: float, dual: float | None) -> None:
    _, kept = value_and_gradient(gradient_preserving, at, advantage, beta1=0.0, beta2=0.0, dual_clip=dual)
    _, ordinary = value_and_gradient(clipped, at, advantage, dual_clip=dual)
    assert kept == ordinary


def test_the_dual_clip_still_bounds_bad_tokens_far_above_the_range() -> None:
    assert value_and_gradient(gradient_preserving, math.log(5.0), -2.0) == pytest.approx((6.0, 0.0))
    assert value_and_gradient(gradient_preserving, math.log(5.0), -2.0, dual_clip=None) == pytest.approx((10.0, 10.0))
    # Not those below it, whatever their weight.
    assert value_and_gradient(gradient_preserving, math.log(0.5), -1.0, beta1=5.0) == pytest.approx((4.0, 4.0))


@given(log_ratios, advantages, st.floats(0.0, 1.0), st.floats(0.0, 2.0))
def test_every_token_of_cispo_keeps_its_clipped_weight(at: float, advantage: float, low: float, high: float) -> None:
    weight = max(1 - low, min(1 + high, math.exp(max(-20.0, min(20.0, at)))))
    found = value_and_gradient(cispo, at, advantage, clip_low=low, clip_high=high)
    assert found == pytest.approx((-weight * advantage * at, -weight * advantage), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), advantages), min_size=1, max_size=8))
def test_any_finite_input_gives_a_finite_cispo(dtype: torch.dtype, rows: list[tuple[float, float, float]]) -> None:
    table = torch.tensor([*rows, (1e4, -1e4, 1.0), (-1e4, 1e4, -1.0)]).to(dtype)
    logprobs = table[None, :, 0].clone().requires_grad_()
    value = cispo(logprobs, table[None, :, 1], table[None, :, 2].float())
    value.sum().backward()
    assert logprobs.grad is not None
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.isfinite(value).all() and torch.isfinite(logprobs.grad).all()


@given(log_ratios)
def test_no_advantage_gives_no_gradient_in_cispo(at: float) -> None:
    assert value_and_gradient(cispo, at, 0.0) == (0.0, 0.0)


@given(log_ratios, advantages)
def test_cispo_is_positively_homogeneous_in_the_advantage(at: float, advantage: float) -> None:
    value, gradient = value_and_gradient(cispo, at, advantage)
    one, slope = value_and_gradient(cispo, at, math.copysign(1.0, advantage))
    assert (value, gradient) == pytest.approx((abs(advantage) * one, abs(advantage) * slope), abs=1e-12)


def test_no_gradient_of_cispo_flows_into_the_old_policy_or_the_weight() -> None:
    logprobs = torch.tensor([[0.1]], requires_grad=True)
    cispo(logprobs, logprobs, torch.ones(1, 1)).sum().backward()
    assert logprobs.grad is not None and logprobs.grad.item() == -1.0


def test_impossible_settings_are_named() -> None:
    zero = torch.zeros(1, 1)
    for settings in ({"clip_low": 1.1}, {"clip_high": -0.1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            cispo(zero, zero, zero, **settings)
    for settings in ({"beta1": -1.0}, {"beta2": math.nan}):
        with pytest.raises(ValueError, match="must not be negative"):
            gradient_preserving(zero, zero, zero, **settings)
