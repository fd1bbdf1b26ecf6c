"""Returns of trajectories and turns."""

from __future__ import annotations

import torch
from torch import Tensor


def overlong_penalty(lengths: Tensor, max_length: float, buffer: float) -> Tensor:
    """Penalty for lengths near the limit: clip(-(L - (L_max - buffer)) / buffer, -1, 0) (DAPO).

    It is 0 up to L_max - buffer and falls linearly to -1 at L_max. It is added to the reward.

    Source: arXiv 2503.14476, "soft overlong punishment".

    Args:
        lengths: (B,), tokens.
        max_length: L_max, tokens.
        buffer: Width of the zone below the limit, tokens; 0 turns the penalty off.

    Returns:
        (B,), between -1 and 0, without gradient.

    Raises:
        ValueError: The buffer is negative or larger than the limit.
    """
    if not 0.0 <= buffer <= max_length:
        raise ValueError(f"buffer is {buffer}, it must be between 0 and max_length = {max_length}")
    dtype = lengths.dtype if lengths.is_floating_point() else torch.float32
    values = lengths.detach().to(dtype)
    if buffer == 0.0:
        return torch.zeros_like(values)
    return ((max_length - buffer - values) / buffer).clamp(-1.0, 0.0)


def discounted(rewards: Tensor, turns: Tensor, gamma: float = 0.95) -> Tensor:
    """The return of each turn, with the reward after the last turn: G_i,n = gamma^(N_i - 1 - n) R_i.

    Args:
        rewards: (B,), one per trajectory.
        turns: (B, T), n, the token's turn, from 0; -1 if it has none. N_i is the number of turns.
        gamma: Discount of the reward per turn.

    Returns:
        (B, T), without gradient, zero where `turns` is -1, in float32 or in float64 if the rewards are.

    Raises:
        ValueError: The shapes do not fit, or gamma is not between 0 and 1.
    """
    if rewards.ndim != 1 or turns.ndim != 2 or len(rewards) != len(turns):
        raise ValueError(f"rewards {tuple(rewards.shape)} must be (B,) and turns {tuple(turns.shape)} (B, T)")
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gamma is {gamma}, it must be between 0 and 1")
    values = rewards.detach() if rewards.dtype == torch.float64 else rewards.detach().float()
    inside = turns >= 0
    last = turns.amax(dim=-1, keepdim=True) if turns.numel() else turns
    # Outside of turns the exponent is set to 0, because 0 to a negative power would be infinite.
    left = torch.where(inside, last - turns, torch.zeros_like(turns))
    earned = values[:, None] * torch.pow(torch.full_like(values, gamma)[:, None], left)
    return torch.where(inside, earned, torch.zeros_like(earned))
