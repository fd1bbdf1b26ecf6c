"""How sure one can be of a comparison. Plain arrays in, numbers out; the same data give the same intervals.

A success is measured in cells, one a seed and question. Both are samples: another training seed and other questions
would give other numbers, so both are resampled. A resample draws as many seeds as there are, with replacement, and
independently of that as many questions. Its value is

    mean of the drawn seeds' means + mean of the drawn questions' means - mean of all cells

and the interval is that of the middle 95 % of 4,000 such values.

Pairing. Two entries are measured with the same seeds on the same questions, and their evaluations draw from the same
noise. So the difference is taken in each cell first, and the cells of differences are resampled: a question that is
hard for both, or a seed that is lucky for both, adds no noise.

What it leaves out. Resampling S seeds gives (S - 1) / S of the variance between them; the deviations of the seeds'
means are therefore stretched by sqrt(S / (S - 1)), and so are those of the questions. With two or three seeds the
interval is a rough guide all the same. With one seed only questions are resampled: it then says nothing about another
training.
The luck of single samples is in the means of seeds and in those of questions, and so counts twice: the interval is
somewhat too wide rather than too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.float64]
"""(seeds, questions)."""

RESAMPLES = 4000
# Quantiles of Student's t for two-sided 95 %, by degrees of freedom from 1; beyond them the normal one is near enough.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)

Verdict = Literal["better", "worse", "inside the noise", "unknown"]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; NaN where there is too little to have one."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What it says as a difference in which more is better."""
        if math.isnan(self.low):
            return "unknown"
        return "better" if self.low > 0 else "worse" if self.high < 0 else "inside the noise"


def success(cells: Cells, seed: int = 0) -> Interval:
    """Mean success of an entry, with the interval described above, inside 0..1.

    Args:
        cells: Success of each seed on each question, in 0..1.
        seed: Of the resampling.

    Raises:
        ValueError: There is no cell, or one is not finite.
    """
    return _interval(cells, seed, 0.0)


def difference(one: Cells, other: Cells, seed: int = 0) -> Interval:
    """Mean of one - other, paired by seed and question, with the interval described above, inside -1..1.

    Args:
        one: Success of each seed on each question, in 0..1.
        other: That of the other entry, with the same seeds and the same questions in the same order.
        seed: Of the resampling.

    Raises:
        ValueError: The cells do not belong to the same seeds and questions, or as `success`.
    """
    if one.shape != other.shape:
        raise ValueError(f"paired cells must have the same seeds and questions: {one.shape} against {other.shape}")
    return _interval(one - other, seed, -1.0)


def cost(values: Sequence[float]) -> Interval:
    """Mean of one number a seed, e.g. seconds, with Student's interval; NaN limits for one seed.

    Raises:
        ValueError: There is none.
    """
    if not values:
        raise ValueError("an interval needs a value for each seed")
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if array.size < 2:
        return Interval(mean, math.nan, math.nan)
    quantile = _T[array.size - 2] if array.size - 2 < len(_T) else 1.96
    half = quantile * float(array.std(ddof=1)) / math.sqrt(array.size)
    return Interval(mean, mean - half, mean + half)


def _interval(cells: Cells, seed: int, least: float) -> Interval:
    if cells.ndim != 2 or cells.size == 0:
        raise ValueError("an interval needs a value for each seed and question")
    if not np.isfinite(cells).all():
        raise ValueError("a success is missing: every seed must have answered every question")
    mean = float(cells.mean())
    if cells.size == 1:
        return Interval(mean, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    means = mean + _resampled(cells.mean(axis=1) - mean, rng) + _resampled(cells.mean(axis=0) - mean, rng)
    # Stretched deviations can leave what a success can be.
    low, high = np.clip(np.quantile(means, [0.025, 0.975]), least, 1.0)
    return Interval(mean, float(low), float(high))


def _resampled(deviations: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Means of `RESAMPLES` draws with replacement, stretched to the variance of the mean; zeros for a single one."""
    size = deviations.size
    if size == 1:
        return np.zeros(RESAMPLES)
    counts = rng.multinomial(size, [1 / size] * size, RESAMPLES)
    return (counts @ deviations) / size * math.sqrt(size / (size - 1))
