"""Computes Pass@k, the chance that at least one of k attempts succeeds."""

from __future__ import annotations

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of k attempts succeeds, `1 - C(n - c, k) / C(n, k)`.

    Args:
        n: Number of attempts that were made.
        c: Number of them that succeeded.
        k: Number of attempts.

    Returns:
        The estimate; NaN if n < k.

    Raises:
        ValueError: k is below 1, or c is not in 0..n.
    """
    if k < 1:
        raise ValueError(f"Pass@k needs k of 1 or more, not {k}")
    if not 0 <= c <= n:
        raise ValueError(f"{c} successes in {n} attempts")
    if n < k:
        return math.nan
    ways = math.comb(n, k)
    return (ways - math.comb(n - c, k)) / ways
