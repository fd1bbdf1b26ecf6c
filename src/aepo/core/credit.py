"""Advantages that differ inside a trajectory: by turn, and by how many trajectories share a token."""

from __future__ import annotations

import torch
from torch import Tensor

from aepo.core.advantages import group_relative
from aepo.core.returns import discounted


def step_relative(rewards: Tensor, turns: Tensor, states: Tensor, gamma: float = 0.95) -> Tensor:
    """Turns compared with those that started from the same state (GiGPO's A_S).

    A_n = (G_n - mean G) / (std G + 1e-6), G the discounted returns of all turns with n's state, unbiased std

    Each turn counts once, whatever its length. A turn that is alone in its state, or among equal returns, gets 0.

    Source: arXiv 2505.10978.

    Args:
        rewards: (B,), one per trajectory.
        turns: (B, T), the token's turn, from 0; -1 if it has none. The tokens of a turn are adjacent.
        states: (B, T), integers, the state that the token's turn started from; read where `turns` is not -1. Turns of
            different groups have different states.
        gamma: Discount of the reward per turn.

    Returns:
        (B, T), without gradient, zero where `turns` is -1.

    Raises:
        ValueError: The shapes do not fit, or gamma is not between 0 and 1.
    """
    if turns.shape != states.shape:
        raise ValueError(f"turns {tuple(turns.shape)} and states {tuple(states.shape)} differ in shape")
    returns = discounted(rewards, turns, gamma)
    inside = turns >= 0
    first = inside & _starts(turns)
    advantages = torch.zeros_like(returns)
    # Turns are numbered over the whole batch, row by row.
    numbers = first.flatten().cumsum(0).reshape(first.shape) - 1
    advantages[inside] = group_relative(returns[first], states[first])[numbers[inside]]
    return advantages


def shared_mean(advantages: Tensor, nodes: Tensor) -> Tensor:
    """The mean advantage of the trajectories that share a token (ARPO's hard attribution).

    Source: arXiv 2507.19849.

    Args:
        advantages: (B,), one per trajectory, or (B, T), equal for the tokens of a trajectory's node.
        nodes: (B, T), integers, the token's node in the tree; -1 on padding. The tokens of a node are adjacent, and a
            trajectory contains a node once.

    Returns:
        (B, T), without gradient, zero where `nodes` is -1.

    Raises:
        ValueError: The shapes do not fit.
    """
    if nodes.ndim != 2 or advantages.shape not in (nodes.shape, nodes.shape[:1]):
        raise ValueError(
            f"advantages {tuple(advantages.shape)} must be (B,) or (B, T) and nodes {tuple(nodes.shape)} (B, T)"
        )
    values = advantages.detach()
    values = (values[:, None] if values.ndim == 1 else values).expand(nodes.shape)
    inside = nodes >= 0
    names, index = torch.unique(nodes, return_inverse=True)
    first = inside & _starts(nodes)
    zeros = values.new_zeros(names.numel())
    sums = zeros.index_add(0, index[first], values[first])
    counts = zeros.index_add(0, index[first], torch.ones_like(values[first]))
    means = sums / counts.clamp(min=1.0)
    return torch.where(inside, means[index], torch.zeros_like(values))


def _starts(numbers: Tensor) -> Tensor:
    """(B, T), whether a run of equal numbers begins here."""
    starts = torch.ones_like(numbers, dtype=torch.bool)
    starts[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    return starts
