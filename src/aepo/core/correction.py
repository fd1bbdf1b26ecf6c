"""Computes weights for tokens that were sampled by other arithmetic, or by older model weights, than the trainer's.

The sampler draws from q, and the trainer computes p for the same tokens. A loss over samples of q is corrected by the
ratio p / q. The ratio is bounded, because a few large ones would outweigh all others.

Weights of tokens are biased and have little variance. Weights of sequences have no bias but that of the bounds, and
their spread grows with the root of the length.

Sources: truncation of tokens, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (Yao et al.,
2025); the mask of tokens, IcePop (Ling team, 2025); of sequences, "When Speed Kills Stability" (Liu et al., 2025).
The weights are those of verl 0.9.1 (`rollout_is`: a cap truncates, "0.5_5.0" masks; exponents bounded by 20) and
TRL 1.16 (`vllm_importance_sampling_mode`). Their caps: 2 for tokens, 2 (verl), 3 (TRL) or 5 (SkyRL) for sequences.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aepo.core.losses import MAX_LOG_RATIO

KINDS = ("truncate", "mask")
LEVELS = ("token", "sequence")


@dataclass(frozen=True)
class Correction:
    """The weights, and figures of the batch.

    Attributes:
        weights: (B, T), not negative, without gradient; 0 where the token is not trained.
        cut_share: The share of the trained tokens whose ratio is out of bounds, and so truncated or masked.
        dropped_share: The share of the trajectories with a trained token in which all weights are 0.
        effective_sample_size: (sum w)^2 / (N sum w^2) over the N trained tokens: 1 for equal weights, 1 / N if one
            token has all the weight, 0 without any.
    """

    weights: Tensor
    cut_share: float
    dropped_share: float
    effective_sample_size: float


@torch.no_grad()
def correction(
    logprobs: Tensor,
    sampled: Tensor,
    loss_mask: Tensor,
    kind: str = "truncate",
    level: str = "token",
    cap: float = 2.0,
    floor: float | None = None,
) -> Correction:
    """The weight of each token's loss, from the tokens' probabilities under the trainer and the sampler.

    With d_t = ln p_t - ln q_t, the ratio is

    | level | r |
    |---|---|
    | token | exp(clamp(d_t, -20, 20)) |
    | sequence | exp(clamp(sum of d_t over the trained tokens of the trajectory, -20, 20)), the same for all of them |

    and the weight is

    | kind | w |
    |---|---|
    | truncate | min(r, cap) |
    | mask | r if floor <= r <= cap, else 0 |

    Args:
        logprobs: (B, T), ln p of the sampled tokens under the trainer, before its first update.
        sampled: (B, T), ln q under the sampler.
        loss_mask: (B, T), not 0 where the token is trained.
        kind: One of `KINDS`.
        level: One of `LEVELS`.
        cap: The largest ratio, above 0.
        floor: The smallest ratio, for `mask` only; None sets no lower bound.

    Raises:
        ValueError: The kind or the level is unknown, or the bounds do not fit.
    """
    _check(kind, level, cap, floor)
    trained = loss_mask != 0
    # Values at untrained tokens may be infinite.
    difference = torch.where(trained, logprobs.double() - sampled.double(), 0.0)
    summed = difference if level == "token" else difference.sum(-1, keepdim=True).expand_as(difference)
    ratio = summed.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    cut = ratio > cap
    if floor is not None:
        cut = cut | (ratio < floor)
    weights = ratio.clamp(max=cap) if kind == "truncate" else ratio.masked_fill(cut, 0.0)
    weights = weights * trained
    count = float(trained.sum())
    rows = trained.any(-1)
    squares = float(weights.square().sum())
    return Correction(
        weights.to(torch.promote_types(logprobs.dtype, torch.float32)),
        cut_share=float((cut & trained).sum()) / max(count, 1.0),
        dropped_share=float((rows & (weights == 0).all(-1)).sum()) / max(float(rows.sum()), 1.0),
        effective_sample_size=float(weights.sum()) ** 2 / (count * squares) if squares else 0.0,
    )


def _check(kind: str, level: str, cap: float, floor: float | None) -> None:
    if kind not in KINDS:
        raise ValueError(f"unknown correction {kind!r}, known are {', '.join(KINDS)}")
    if level not in LEVELS:
        raise ValueError(f"unknown level {level!r}, known are {', '.join(LEVELS)}")
    if not cap > 0.0:
        raise ValueError(f"cap is {cap}, it must be above 0")
    if floor is not None and kind == "truncate":
        raise ValueError("floor is for mask: truncate bounds ratios from above only")
    if floor is not None and not 0.0 < floor <= cap:
        raise ValueError(f"floor is {floor}, it must be above 0 and at most cap, {cap}")
