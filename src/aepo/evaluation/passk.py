"""Pass@k and how sure one can be of it: the questions are the sample, so the questions are resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over questions with its bootstrap interval (95 %; NaN for a single question)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """E.g. "0.53 [0.49, 0.57]"."""
        return f"{self.mean:.3f}" if math.isnan(self.low) else f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k attempts succeeds, `1 - C(n - c, k) / C(n, k)`.

    Args:
        n: Attempts made.
        c: How many of them succeeded.
        k: Attempts allowed.

    Returns:
        NaN when n < k: too few attempts say nothing about k.

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


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over questions; the same seed gives the same interval.

    Args:
        values: One a question, e.g. its Pass@1. Attempts at one question are not independent: give their mean.
        level: Share of resampled means inside.
        resamples: How many means.
        seed: Of the resampling.

    Returns:
        (low, high); NaN for fewer than two questions, or if a value is NaN.

    Raises:
        ValueError: No values, a level outside (0, 1), or no resamples.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1")
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, not {resamples}")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError("an interval needs a list with one value a question")
    if array.size < 2 or np.isnan(array).any():
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = [array[rng.integers(array.size, size=array.size)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    a: Sequence[float], b: Sequence[float], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of a - b over the same questions, with its bootstrap interval.

    Returns:
        (mean, low, high); an interval without 0 in it is a difference.

    Raises:
        ValueError: The lists differ in length, or as `bootstrap_interval`.
    """
    if len(a) != len(b):
        raise ValueError(f"paired values must belong to the same questions: {len(a)} against {len(b)}")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    low, high = bootstrap_interval(differences.tolist(), level, resamples, seed)
    return float(differences.mean()), low, high


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one value a question, with its interval.

    Raises:
        ValueError: There are no values.
    """
    low, high = bootstrap_interval(values)
    return Estimate(fmean(values), low, high)
