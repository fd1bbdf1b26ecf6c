"""Advantages: rewards are compared inside a group or over the batch, then scaled by entropy."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6
VARIANCE_EPSILON = 1e-8


def group_relative(rewards: Tensor, groups: Tensor) -> Tensor:
    """Group z-score: A_i = (R_i - mean R) / (std R + 1e-6), mean and unbiased std over i's group.

    A group of equal rewards, or of one trajectory, gives exactly 0.

    Args:
        rewards: (B,), one per trajectory.
        groups: (B,), integers, equal for trajectories of one question. Groups must be whole, in any order.

    Returns:
        (B,), without gradient, in the rewards' dtype (float32 for integers).

    Raises:
        ValueError: A shape is not (B,).
    """
    if rewards.ndim != 1 or rewards.shape != groups.shape:
        raise ValueError(f"rewards {tuple(rewards.shape)} and groups {tuple(groups.shape)} must both be (B,)")
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    values = rewards.detach().to(_wide(rewards.device))
    names, index = torch.unique(groups, return_inverse=True)
    zeros = values.new_zeros(names.numel())
    sizes = zeros.index_add(0, index, torch.ones_like(values))
    means = zeros.index_add(0, index, values) / sizes
    deviations = values - means[index]
    std = (zeros.index_add(0, index, deviations**2) / (sizes - 1.0).clamp(min=1.0)).sqrt()
    # Rounding can move the mean of equal numbers by 1e-9. Divided by 1e-6 that would be an advantage.
    highest = zeros.scatter_reduce(0, index, values, "amax", include_self=False)
    lowest = zeros.scatter_reduce(0, index, values, "amin", include_self=False)
    advantages = deviations / (std[index] + EPSILON)
    return torch.where((highest == lowest)[index], torch.zeros_like(advantages), advantages).to(dtype)


def whitened(returns: Tensor, loss_mask: Tensor) -> Tensor:
    """Returns compared over the whole batch: A_t = (G_t - mean G) / sqrt(var G + 1e-8) (REINFORCE++).

    Mean and unbiased variance are over all tokens with loss_mask 1, so a long trajectory counts more than a short one.
    Equal returns, or fewer than two trained tokens, give exactly 0.

    Source: arXiv 2501.03262.

    Args:
        returns: (B, T), or (B, 1) where all tokens of a trajectory have the same return (gamma 1, reward at the end).
        loss_mask: (B, T), not 0 where the token is trained; other returns are never read.

    Returns:
        (B, T), without gradient, zero where loss_mask is 0, in the returns' dtype (float32 for integers).

    Raises:
        ValueError: The shapes do not fit.
    """
    if returns.ndim != 2 or loss_mask.ndim != 2 or returns.shape not in (loss_mask.shape, (len(loss_mask), 1)):
        raise ValueError(
            f"returns {tuple(returns.shape)} must be (B, T) or (B, 1) for loss_mask {tuple(loss_mask.shape)}"
        )
    dtype = returns.dtype if returns.is_floating_point() else torch.float32
    trained = loss_mask != 0
    values = returns.detach().to(_wide(returns.device)).expand(loss_mask.shape)
    inside = values[trained]
    if inside.numel() == 0 or bool(inside.min() == inside.max()):
        return torch.zeros_like(values, dtype=dtype)
    scaled = (values - inside.mean()) / (inside.var() + VARIANCE_EPSILON).sqrt()
    return torch.where(trained, scaled, torch.zeros_like(scaled)).to(dtype)


def entropy_aware(advantages: Tensor, entropies: Tensor, loss_mask: Tensor, weight: float = 0.2) -> Tensor:
    """Scale each token's advantage by how uncertain the policy was there (AEPO).

    A_it = A_i max(0, 1 + weight z_it), with z the z-score of the entropy over all trained tokens. No factor is
    negative, so no advantage changes its sign. Fewer than two tokens, or equal entropies, give z = 0.

    Args:
        advantages: (B, T) or (B, 1).
        entropies: (B, T), nats, under the policy that sampled; no gradient flows through it.
        loss_mask: (B, T), 1 where the token is trained; other entropies are never read.
        weight: How strongly entropy counts; 0 changes nothing.

    Returns:
        (B, T), zero where loss_mask is 0.

    Raises:
        ValueError: The shapes do not fit.
    """
    if advantages.ndim != 2:
        raise ValueError(f"advantages {tuple(advantages.shape)} must be (B, T) or (B, 1): use advantages[:, None]")
    mean, std = entropy_statistics(entropies, loss_mask)
    trained = loss_mask != 0
    z = torch.where(trained & (std > 0), (entropies.detach() - mean) / (std + EPSILON), 0.0)
    scaled = advantages * (1.0 + weight * z).clamp(min=0.0).to(_float(entropies))
    return torch.where(trained, scaled, torch.zeros_like(scaled))


def entropy_statistics(entropies: Tensor, loss_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased std of the trained tokens' entropy, two scalars in nats without gradient.

    Fewer than two tokens, or equal entropies, give std 0, which stands for z = 0. Arguments as of `entropy_aware`.
    """
    _same_shape(entropies, loss_mask)
    values = entropies.detach()[loss_mask != 0].to(_wide(entropies.device))
    mean = values.sum() / max(values.numel(), 1)
    std = torch.zeros_like(mean)
    if values.numel() and not bool(values.min() == values.max()):
        std = (((values - mean) ** 2).sum() / (values.numel() - 1)).sqrt()
    return mean.to(_float(entropies)), std.to(_float(entropies))


def _same_shape(entropies: Tensor, loss_mask: Tensor) -> None:
    if entropies.shape != loss_mask.shape:
        raise ValueError(f"entropies {tuple(entropies.shape)} and loss_mask {tuple(loss_mask.shape)} differ in shape")


def _wide(device: torch.device) -> torch.dtype:
    # Apple's GPUs have no float64.
    return torch.float32 if device.type == "mps" else torch.float64


def _float(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32
