"""Per-token policy losses. Masks and averages come later, in `aepo.core.aggregation`.

The log ratio is clamped to +-20 before it is exponentiated, and past the clamp the ratio is a constant. Where the
gradient factor of a loss is the ratio itself, the gradient is 0 past the clamp, because one such token would outweigh
all others. Factors that do not grow with the ratio stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_LOG_RATIO = 20.0


def clipped(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
) -> Tensor:
    """PPO's clipped loss: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), r = exp(logp - old_logp).

    With grad = -F A grad logp, F is 0 where A > 0 and r > 1 + clip_high, where A < 0 and r < 1 - clip_low, and where
    A < 0 and r > dual_clip; else r. A = 0 gives no gradient.

    Args:
        logprobs: (B, T), ln p of the sampled tokens under the policy being trained.
        old_logprobs: (B, T), under the policy that sampled; no gradient flows through it.
        advantages: (B, T) or (B, 1).
        clip_low: Width of the range below 1.
        clip_high: Width of the range above 1.
        dual_clip: Largest ratio that a negative advantage is multiplied with; None turns this off.

    Returns:
        (B, T), finite for finite input, in float32 or in float64 if the input is.

    Raises:
        ValueError: A clip is out of range.
    """
    _check(clip_low, clip_high, dual_clip)
    ratio = _ratio(logprobs, old_logprobs)
    low, high = torch.full_like(ratio, 1.0 - clip_low), torch.full_like(ratio, 1.0 + clip_high)
    return _pessimistic(ratio, low, high, advantages, clip_low, clip_high, dual_clip)


def entropy_balanced(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = 3.0,
) -> Tensor:
    """The clip of AEPO, which keeps the gradient of tokens with A > 0; arguments and errors as of `clipped`.

    -min(r A, clip(r, 1 - clip_low, (1 + clip_high) / sg(r) r) A), r = exp(logp - old_logp), sg is stop_gradient

    The value is that of `clipped`. With grad = -F A grad logp, the gradient is:

    | case | F |
    |---|---|
    | A > 0, r > 1 + clip_high | 1 + clip_high, for any r |
    | A < 0, r < 1 - clip_low | 0 |
    | A < 0, r > dual_clip (when set) | 0 |
    | else | r |
    """
    _check(clip_low, clip_high, dual_clip)
    ratio = _ratio(logprobs, old_logprobs)
    low, high = torch.full_like(ratio, 1.0 - clip_low), (1.0 + clip_high) * _one(logprobs)
    return _pessimistic(ratio, low, high, advantages, clip_low, clip_high, dual_clip)


def gradient_preserving(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    beta1: float = 1.0,
    beta2: float = 1.0,
    dual_clip: float | None = 3.0,
) -> Tensor:
    """A clip that keeps gradients on both sides (GPPO, arXiv 2508.07629; the weights are of CE-GPPO, arXiv 2509.20712).

    -min(r A, clip(r, beta1 (1 - clip_low) / sg(r) r, beta2 (1 + clip_high) / sg(r) r) A), r = exp(logp - old_logp),
    clipped where r leaves 1 - clip_low .. 1 + clip_high, for any weights

    With both weights 1 the value is that of `clipped`. With grad = -F A grad logp, the gradient is:

    | case | F |
    |---|---|
    | A > 0, r > 1 + clip_high | beta2 (1 + clip_high), for any r |
    | A < 0, r < 1 - clip_low | beta1 (1 - clip_low), for any r |
    | A < 0, r > dual_clip (when set) | 0 |
    | else | r |

    `beta1` is the weight of tokens with A < 0 below the range, `beta2` that of tokens with A > 0 above it. The other
    arguments are those of `clipped`; a negative weight is a ValueError too.
    """
    _check(clip_low, clip_high, dual_clip)
    if not (beta1 >= 0.0 and beta2 >= 0.0):
        raise ValueError(f"beta1 is {beta1} and beta2 is {beta2}, they must not be negative")
    ratio, one = _ratio(logprobs, old_logprobs), _one(logprobs)
    low, high = beta1 * (1.0 - clip_low) * one, beta2 * (1.0 + clip_high) * one
    return _pessimistic(ratio, low, high, advantages, clip_low, clip_high, dual_clip)


def cispo(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip_high: float = 0.28, clip_low: float = 1.0
) -> Tensor:
    """REINFORCE with clipped importance weights: -sg(clip(r, 1 - clip_low, 1 + clip_high)) A logp (CISPO).

    Every token keeps a gradient: with grad = -F A grad logp, F is the clipped ratio. The value depends on logp itself,
    so it does not measure progress. Arguments and errors are those of `clipped`; a `clip_low` of 1 sets no lower bound.

    Source: MiniMax-M1, arXiv 2506.13585, which sets no lower bound.
    """
    _check(clip_low, clip_high, None)
    weights = torch.clamp(_ratio(logprobs, old_logprobs).detach(), 1.0 - clip_low, 1.0 + clip_high)
    return -weights * advantages * _wide(logprobs)


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """The k3 estimate of KL(policy || reference) per token: exp(d) - d - 1, d = ref_logp - logp.

    It is never negative. d is clamped to +-20; past that the estimate is a constant and gives no gradient.

    Args:
        logprobs: (B, T), ln p of the sampled tokens under the policy being trained.
        ref_logprobs: (B, T), under the reference; no gradient flows through it.

    Returns:
        (B, T), nats.
    """
    difference = _clamped(ref_logprobs.detach(), logprobs)
    return torch.expm1(difference) - difference


def clip_fractions(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """Shares of the trained tokens that PPO's clip would cut: (A < 0 below the range, A > 0 above it).

    The arguments are those of `clipped`, and `loss_mask` (B, T), 1 where the token is trained. The results are scalars
    without gradient, 0 if nothing is trained.
    """
    trained = loss_mask != 0
    count = trained.sum().clamp(min=1)
    below, above = clip_range_left(logprobs, old_logprobs, clip_low, clip_high)
    return ((advantages < 0) & below & trained).sum() / count, ((advantages > 0) & above & trained).sum() / count


def clip_range_left(
    logprobs: Tensor, old_logprobs: Tensor, clip_low: float = 0.2, clip_high: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Where the ratio has left the clip range: (below it, above it), bool, in the shape of `logprobs`."""
    with torch.no_grad():
        ratio = _ratio(logprobs, old_logprobs)
        return ratio < 1.0 - clip_low, ratio > 1.0 + clip_high


def _ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    return torch.exp(_clamped(logprobs, old_logprobs.detach()))


def _clamped(minuend: Tensor, subtrahend: Tensor) -> Tensor:
    return torch.clamp(_wide(minuend) - _wide(subtrahend), -MAX_LOG_RATIO, MAX_LOG_RATIO)


def _wide(values: Tensor) -> Tensor:
    # e^20 does not fit into float16.
    return values if values.dtype == torch.float64 else values.float()


def _one(logprobs: Tensor) -> Tensor:
    # r / sg(r) has value 1 and gradient grad logp. As exp(logp - sg(logp)) this also holds past the clamp.
    return torch.exp(_wide(logprobs) - _wide(logprobs).detach())


def _pessimistic(
    ratio: Tensor,
    low: Tensor,
    high: Tensor,
    advantages: Tensor,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None,
) -> Tensor:
    # Cases instead of min(): at a tie min() would split the gradient between both sides.
    good = torch.where(ratio > 1.0 + clip_high, high, ratio)
    bounded = ratio if dual_clip is None else torch.clamp(ratio, max=dual_clip)
    bad = torch.where(ratio < 1.0 - clip_low, low, bounded)
    return -torch.where(advantages > 0, good, bad) * advantages


def _check(clip_low: float, clip_high: float, dual_clip: float | None) -> None:
    if not 0.0 <= clip_low <= 1.0:
        raise ValueError(f"clip_low is {clip_low}, it must be between 0 and 1")
    if not clip_high >= 0.0:
        raise ValueError(f"clip_high is {clip_high}, it must not be negative")
    if dual_clip is not None and not dual_clip > 1.0:
        raise ValueError(f"dual_clip is {dual_clip}, it must be above 1, or null to turn it off")
