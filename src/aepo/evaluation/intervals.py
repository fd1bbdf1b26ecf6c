"""Computes 95 % intervals of means, and p-values.

The standard error of a few values is itself uncertain, so intervals use Student's quantiles. The half width of the
interval of n values is `quantile(chance, n - 1) * standard error`.

If all n values are equal, their standard error is 0. Then the interval is Wilson's for a share: up to `z^2 / (n + z^2)`
of all questions (z = 1.96) may have another value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

CHANCE = 0.05
"""The chance that a true mean lies outside of its interval."""
_NO_WIDTH = 1e-12
_LEAST_P = 1e-9


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; the limits are NaN if there are too few values."""

    mean: float
    low: float
    high: float

    @property
    def percent(self) -> Interval:
        """The interval of a share, in per cent."""
        return Interval(100 * self.mean, 100 * self.low, 100 * self.high)

    def __format__(self, form: str) -> str:
        """Write it, e.g. "0.53 [0.49, 0.57]" for ".2f"; without limits the mean alone. The default is ".3f"."""
        form = form or ".3f"
        limits = "" if math.isnan(self.low) else f" [{self.low:{form}}, {self.high:{form}}]"
        return f"{self.mean:{form}}{limits}"

    def __str__(self) -> str:
        return format(self)


Errors = Sequence[tuple[float, int]]
"""The independent parts of a standard error, each with its degrees of freedom."""


@dataclass(frozen=True)
class Uncertain:
    """A mean with its standard error.

    Attributes:
        mean: The mean of the values.
        errors: A standard error for each way to estimate it; the widest interval is used. If empty, it is unknown.
        independent: Number of independent values.
        least: The smallest possible value.
        most: The largest possible value.
    """

    mean: float
    errors: Sequence[Errors]
    independent: int
    least: float = -math.inf
    most: float = math.inf

    def limits(self, chance: float = CHANCE) -> tuple[float, float]:
        """The limits between which the true mean lies, except with this chance; NaN if the error is unknown.

        The half widths a and b of independent parts add up to `sqrt(a^2 + b^2)`.
        """
        if not self.errors:
            return math.nan, math.nan
        half = max(math.hypot(*(quantile(chance, degrees) * error for error, degrees in way)) for way in self.errors)
        if half < _NO_WIDTH and math.isfinite(self.most - self.least):
            square = NormalDist().inv_cdf(1 - chance / 2) ** 2
            other = square / (self.independent + square)
            return self.mean - other * (self.mean - self.least), self.mean + other * (self.most - self.mean)
        return max(self.least, self.mean - half), min(self.most, self.mean + half)

    @property
    def interval(self) -> Interval:
        """The mean with its 95 % interval."""
        return Interval(self.mean, *self.limits())

    @property
    def p(self) -> float:
        """The chance of a mean as far from 0 if the true mean is 0, at least 1e-9; NaN if the error is unknown.

        It is the chance at which the interval begins to leave out 0.
        """
        if not self.errors:
            return math.nan
        if self.mean == 0:
            return 1.0
        inside, outside = math.log(_LEAST_P), 0.0
        for _ in range(40):
            middle = (inside + outside) / 2
            low, high = self.limits(math.exp(middle))
            inside, outside = (middle, outside) if low <= 0 <= high else (inside, middle)
        return math.exp(outside)


def estimate(values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> Interval:
    """The mean of one value per question or per seed, with its interval; a single value has NaN limits.

    Args:
        values: Independent values; for several attempts at one question, their mean.
        least: The smallest possible value, e.g. 0 for success.
        most: The largest possible value, e.g. 1 for success.

    Raises:
        ValueError: There are no values, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError("an interval needs a list with one value a question")
    if not np.isfinite(array).all():
        raise ValueError("an interval needs finite values")
    errors = [standard_error(array)] if array.size > 1 else []
    return Uncertain(float(array.mean()), errors, array.size, least, most).interval


def paired_difference(one: Sequence[float], other: Sequence[float]) -> Interval:
    """The mean of one - other over the same questions, all values in 0..1; the two differ if the interval leaves out 0.

    Raises:
        ValueError: The lists differ in length, or as `estimate`.
    """
    if len(one) != len(other):
        raise ValueError(f"paired values must belong to the same questions: {len(one)} against {len(other)}")
    return estimate([a - b for a, b in zip(one, other, strict=True)], -1.0, 1.0)


def standard_error(values: np.ndarray) -> Errors:
    """The standard error `sd / sqrt(n)` of n values, with n - 1 degrees of freedom; empty for one value."""
    size = values.size
    return [] if size < 2 else [(float(values.std(ddof=1)) / math.sqrt(size), size - 1)]


def tail(t: float, degrees: int) -> float:
    """The chance that a value of Student's distribution is further from 0 than t.

    It is exact for whole degrees of freedom, to about 1e-15. Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(degrees))
    square, odd = math.cos(angle) ** 2, degrees % 2
    term = total = 1.0
    for k in range(2 + odd, degrees, 2):
        term *= square * (k - 1) / k
        total += term
    if not odd:
        return 1 - math.sin(angle) * total
    return 1 - 2 / math.pi * (angle + (math.sin(angle) * math.cos(angle) * total if degrees > 1 else 0.0))


@lru_cache(maxsize=4096)
def quantile(chance: float, degrees: int) -> float:
    """Student's two-sided quantile, the t with `tail(t, degrees) == chance`."""
    low, high = 0.0, 1.0
    while tail(high, degrees) > chance:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, degrees) > chance else (low, middle)
    return high
