"""Computes how many trajectories of a group start from the question. No torch."""

from __future__ import annotations

import math

# Keeps 0.07 * 100 = 7.000000000000001 from being rounded up to 8.
ROUNDING = 1e-9


def global_samples(gap: float, group_size: int, beta: float = 1.0, probes: int = 1, min_global: float = 0.25) -> int:
    """Global samples m; the other k - m trajectories are the branch budget.

    m = clamp(floor(k sigmoid(beta gap) + 1/2), max(probes, ceil(min_global k)), k)

    Args:
        gap: H_root minus the mean of H_tool, scaled; 0 if the probes called no tool.
        group_size: k.
        beta: How strongly m follows the gap.
        probes: Trajectories that begin before m is known; they are the first global samples.
        min_global: Smallest share of the group that starts from the question.

    Raises:
        ValueError: The gap is not finite, or `least_global_samples` refuses the other arguments.
    """
    if not math.isfinite(gap):
        raise ValueError(f"the entropy gap is {gap}: the model's logits are broken")
    least = least_global_samples(group_size, probes, min_global)
    return min(max(math.floor(group_size * _sigmoid(beta * gap) + 0.5), least), group_size)


def least_global_samples(group_size: int, probes: int = 1, min_global: float = 0.25) -> int:
    """The smallest m: max(probes, ceil(min_global k)), and at least 1, since a branch needs a path.

    Raises:
        ValueError: k is below 1, the probes are not in [0, k], or `min_global` is not in [0, 1].
    """
    if group_size < 1:
        raise ValueError(f"group_size is {group_size}, it must be at least 1")
    if not 0 <= probes <= group_size:
        raise ValueError(f"probes is {probes}, it must be between 0 and group_size = {group_size}")
    if not 0.0 <= min_global <= 1.0:
        raise ValueError(f"min_global is {min_global}, it must be between 0 and 1")
    return max(1, probes, math.ceil(min_global * group_size - ROUNDING))


def _sigmoid(x: float) -> float:
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    small = math.exp(x)
    return small / (1.0 + small)
