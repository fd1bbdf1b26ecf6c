"""How far one token's distribution has moved from the policy that sampled, and losses that act by it.

PPO's clip goes by the ratio of probabilities. A rare token trebles its probability while the distribution hardly
moves, and a likely one moves it far at a ratio near 1. The functions here go by the distribution.

Sources: the mask is DPPO's (arXiv 2602.04879); the switch is REPPO's (arXiv 2507.11019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from aepo.core.losses import MAX_LOG_RATIO

LARGEST_RATIO = 20.0
"""Ratios of tokens that no mask cuts are bounded by it; DPPO's published value."""


def total_variation(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """|p - p_old| of the sampled token: a lower bound of the total variation, in the shape of `logprobs`."""
    return (_wide(logprobs).exp() - _wide(old_logprobs).exp()).abs()


def binary_kl(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """KL(old || new) in nats of two outcomes, the sampled token and all others: a lower bound of the KL per token.

    p_old ln(p_old / p) + (1 - p_old) ln((1 - p_old) / (1 - p))

    It is never negative, and differentiable in `logprobs`. A probability of 1 counts as 1 - 1e-7.
    """
    new, old = _wide(logprobs), _wide(old_logprobs.detach())
    return (old.exp() * (old - new) + _rest(old) * (_rest(old).log() - _rest(new).log())).clamp(min=0.0)


def top_kl(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """KL(old || new) in nats from the same q tokens of both policies; all other tokens count as one outcome.

    Args:
        logprobs: (..., q), ln p of distinct tokens under the policy being trained.
        old_logprobs: (..., q), of the same tokens under the policy that sampled.

    Returns:
        (...), a lower bound of the full KL.
    """
    new, old = _wide(logprobs), _wide(old_logprobs)
    rest_new = (1.0 - new.exp().sum(-1)).clamp(min=1e-12)
    rest_old = (1.0 - old.exp().sum(-1)).clamp(min=0.0)
    tail = torch.where(rest_old > 0, rest_old * (rest_old.clamp(min=1e-12).log() - rest_new.log()), 0.0)
    return (old.exp() * (old - new)).sum(-1) + tail


def kl_estimate(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """k3 of KL(old || new) per sampled token: r - 1 - ln r, r = exp(logp - old_logp); unbiased, never negative."""
    log_ratio = (_wide(logprobs) - _wide(old_logprobs.detach())).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(log_ratio) - log_ratio


def masked(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, divergence: str = "tv", bound: float = 0.15
) -> Tensor:
    """DPPO's loss: -A sg(min(r, 20)) logp, without gradient where the token leads further away than the bound.

    A token leads away if A > 0 and p > p_old, or A < 0 and p < p_old. With grad = -F A grad logp, F is 0 where it leads
    away and its divergence is above `bound`, else min(r, 20).

    Args:
        logprobs: (B, T), ln p of the sampled tokens under the policy being trained.
        old_logprobs: (B, T), under the policy that sampled.
        advantages: (B, T) or (B, 1).
        divergence: "tv" for `total_variation`, "kl" for `binary_kl`.
        bound: Largest divergence; published are 0.15 for tv and 0.05 for kl.

    Returns:
        (B, T); the value does not measure progress, as that of CISPO.

    Raises:
        ValueError: The divergence is unknown, or the bound is not above 0.
    """
    if divergence not in ("tv", "kl"):
        raise ValueError(f"unknown divergence {divergence!r}, known are tv, kl")
    if not bound > 0.0:
        raise ValueError(f"the bound of the divergence is {bound}, it must be above 0")
    wide = _wide(logprobs)
    with torch.no_grad():
        far = (total_variation if divergence == "tv" else binary_kl)(logprobs, old_logprobs) > bound
        up = wide > _wide(old_logprobs)
        cut = far & torch.where(advantages > 0, up, ~up)
        ratio = _ratio(wide, old_logprobs).clamp(max=LARGEST_RATIO).masked_fill(cut, 0.0)
    return -ratio * advantages * wide


def inside(logprobs: Tensor, old_logprobs: Tensor, bound: float, estimate: str = "binary") -> Tensor:
    """Where a token's KL(old || new) is below the bound, bool, without gradient; `estimate` as of `divergence`."""
    with torch.no_grad():
        return divergence(logprobs, old_logprobs, estimate) < bound


def unclipped(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
    """-A r, r = exp(logp - old_logp): the policy loss without a clip; F is r."""
    return -_ratio(_wide(logprobs), old_logprobs) * advantages


def divergence(logprobs: Tensor, old_logprobs: Tensor, estimate: str = "binary") -> Tensor:
    """KL(old || new) per token by an estimate: "binary" is `binary_kl`, "k3" is `kl_estimate`."""
    if estimate not in ("binary", "k3"):
        raise ValueError(f"unknown estimate {estimate!r}, known are binary, k3")
    return (binary_kl if estimate == "binary" else kl_estimate)(logprobs, old_logprobs)


def _ratio(wide: Tensor, old_logprobs: Tensor) -> Tensor:
    return (wide - _wide(old_logprobs.detach())).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def _rest(logprobs: Tensor) -> Tensor:
    return (-torch.expm1(logprobs)).clamp(min=1e-7)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
