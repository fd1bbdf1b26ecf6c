"""Computes how sure the results of a comparison are, from plain arrays.

Success is measured in cells, one for each seed and question. Seeds and questions are both samples: another training
seed or other questions would give other numbers. So the mean of all cells has two errors: the error of the seeds' means
and the error of the questions' means. Its interval has both, each with Student's quantile t for its own number n of
values:

    half width = sqrt((t_seeds sd_seeds)^2 / n_seeds + (t_questions sd_questions)^2 / n_questions)

The luck of single samples is in the means of seeds and also in those of questions, but it must count once. Its size is
estimated by the rest of each cell (the cell minus its seed's and its question's mean), and is subtracted from the
questions' variance, which never falls below 0. Seeds may be alike by chance, and this must not make an interval narrow:
it is never narrower than the interval of the questions alone.

Two entries are paired: they are measured with the same seeds on the same questions, and their evaluations use the same
random numbers. So the difference is taken in each cell first. A question that is hard for both, or a seed that is lucky
for both, then adds no noise.

With one seed, only the questions' part is left: it says nothing about another training.
`benchmarks/coverage.py` measures how often the interval holds the true value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from aepo.evaluation.intervals import CHANCE, Interval, Uncertain, estimate, standard_error

Cells = npt.NDArray[np.float64]
"""An array of shape (seeds, questions)."""

DifferenceVerdict = Literal["better", "worse", "may be chance", "inside the noise", "unknown"]


@dataclass(frozen=True)
class Difference(Interval):
    """A difference between two entries; more is better.

    Attributes:
        p: The chance of a difference as far from 0 if the entries are equal. It is corrected if there are several
            differences, see `holm`.
    """

    p: float

    @property
    def verdict(self) -> DifferenceVerdict:
        """The conclusion. "may be chance": the interval does not hold 0, but p is not small after the correction."""
        if math.isnan(self.p):
            return "unknown"
        if self.p <= CHANCE:
            return "better" if self.mean > 0 else "worse"
        return "may be chance" if self.low > 0 or self.high < 0 else "inside the noise"


def success(cells: Cells) -> Interval:
    """The mean success of an entry with the interval described above, inside 0..1; errors as of `uncertain`.

    Args:
        cells: Success of each seed on each question, in 0..1.
    """
    return uncertain(cells, 0.0).interval


def difference(one: Cells, other: Cells) -> Difference:
    """The mean of one - other, paired by seed and question, with the interval described above, inside -1..1.

    Args:
        one: Success of each seed on each question, in 0..1.
        other: The same for the other entry, with the same seeds and the same questions in the same order.

    Raises:
        ValueError: The cells have different shapes, or as `uncertain`.
    """
    if one.shape != other.shape:
        raise ValueError(f"paired cells must have the same seeds and questions: {one.shape} against {other.shape}")
    found = uncertain(one - other, -1.0)
    return Difference(found.mean, *found.limits(), found.p)


def cost(values: Sequence[float]) -> Interval:
    """The mean of one number per seed, e.g. seconds, with Student's interval; one seed gives NaN limits."""
    if not values:
        raise ValueError("an interval needs a value for each seed")
    return estimate(values)


def holm(p: Sequence[float]) -> list[float]:
    """Correct the p-values of several differences: if all entries are equal, one is below 0.05 in only 5 % of cases.

    By Holm's step-down, the smallest of n values is multiplied by n, the next by n - 1, and so on. No value is then
    below the one before it, nor above 1. NaN stays NaN and does not count.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    known = sorted((at for at, value in enumerate(p) if not math.isnan(value)), key=lambda at: p[at])
    corrected, highest = list(p), 0.0
    for rank, at in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p[at]))
        corrected[at] = highest
    return corrected


def uncertain(cells: Cells, least: float) -> Uncertain:
    """The mean of cells and the two parts of its error, as described above.

    Args:
        cells: A value of each seed on each question, in least..1.
        least: The smallest possible value.

    Raises:
        ValueError: There is no cell, or one is not finite.
    """
    if cells.ndim != 2 or cells.size == 0:
        raise ValueError("an interval needs a value for each seed and question")
    if not np.isfinite(cells).all():
        raise ValueError("a success is missing: every seed must have answered every question")
    of_seeds, of_questions = standard_error(cells.mean(axis=1)), standard_error(cells.mean(axis=0))
    less = [(math.sqrt(max(0.0, error**2 - _luck(cells))), degrees) for error, degrees in of_questions]
    errors = [way for way in ([*of_seeds, *less], of_questions) if way]
    return Uncertain(float(cells.mean()), errors, max(cells.shape), least, 1.0)


def _luck(cells: Cells) -> float:
    """The part of the mean's variance that comes from single cells; 0 for one seed or one question."""
    seeds, questions = cells.shape
    if seeds == 1 or questions == 1:
        return 0.0
    rest = cells - cells.mean(axis=1, keepdims=True) - cells.mean(axis=0, keepdims=True) + cells.mean()
    return float((rest**2).sum() / ((seeds - 1) * (questions - 1)) / cells.size)
