"""Entropy of the next-token distribution, in nats."""

from __future__ import annotations

import torch
from torch import Tensor

from aepo.core.scale import EntropyScale, segment_entropy

__all__ = ["EntropyScale", "segment_entropy", "token_entropy", "topk_entropy"]


def token_entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Exact entropy at the sampling temperature: H = -sum_j p_j ln p_j, p = softmax(z / T).

    Args:
        logits: (..., V), of any size; -inf marks a token that cannot be sampled. At least one must be finite.
        temperature: T > 0.

    Returns:
        (...), nats, in float32 or in float64 if the logits are; differentiable.

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature is {temperature}, it must be above 0")
    wide = _wide(logits)
    # The shift comes before the division, so that large logits do not overflow at a low temperature.
    logp = torch.log_softmax((wide - wide.detach().amax(-1, keepdim=True)) / temperature, dim=-1)
    return _minus_p_ln_p(logp).sum(-1)


def topk_entropy(logprobs: Tensor) -> Tensor:
    """Lower bound from the q likeliest tokens; all other tokens count as one outcome.

    H >= -sum_q p ln p - r ln r,  r = max(0, 1 - sum_q p)

    Args:
        logprobs: (..., q), ln p of distinct tokens; -inf entries add nothing.

    Returns:
        (...), nats, in float32 or in float64 if the input is.
    """
    wide = _wide(logprobs)
    rest = (1.0 - wide.exp().sum(-1)).clamp(0.0, 1.0)
    tail: Tensor = torch.special.entr(rest)
    return _minus_p_ln_p(wide).sum(-1) + tail


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _minus_p_ln_p(logp: Tensor) -> Tensor:
    # p ln p is 0 at p = 0, but 0 * -inf would be NaN in the value and in the gradient.
    return -logp.exp() * logp.masked_fill(logp == -torch.inf, 0.0)
