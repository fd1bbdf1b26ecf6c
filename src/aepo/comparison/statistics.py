"""How sure one can be of a comparison. Plain arrays in, numbers out.

A success is measured in cells, one a seed and question. Both are samples: another training seed and other questions
would give other numbers. The mean of all cells has two errors, that of the seeds' means and that of the questions'
means, and its interval has both, each with Student's quantile t for its own number n of values:

    half width = sqrt((t_seeds sd_seeds)^2 / n_seeds + (t_questions sd_questions)^2 / n_questions)

The luck of single samples is in the means of seeds and in those of questions. It must count once: what a cell's rest
(the cell less its seed's and its question's mean) says of it is taken from the questions' variance, never below 0.
Seeds that are alike by chance must not make an interval narrow: it is never narrower than that of the questions alone.

Pairing. Two entries are measured with the same seeds on the same questions, and their evaluations draw from the same
noise. So the difference is taken in each cell first: a question that is hard for both, or a seed that is lucky for
both, adds no noise.

With one seed only the questions' part is there: it then says nothing about another training.
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
"""(seeds, questions)."""

DifferenceVerdict = Literal["better", "worse", "may be chance", "inside the noise", "unknown"]


@dataclass(frozen=True)
class Difference(Interval):
    """A difference in which more is better.

    Attributes:
        p: The chance of one as far from 0 if there is none; corrected if it is one of several, see `holm`.
    """

    p: float

    @property
    def verdict(self) -> DifferenceVerdict:
        """What one may say; "may be chance": its own interval leaves out 0, but not after the correction."""
        if math.isnan(self.p):
            return "unknown"
        if self.p <= CHANCE:
            return "better" if self.mean > 0 else "worse"
        return "may be chance" if self.low > 0 or self.high < 0 else "inside the noise"


def success(cells: Cells) -> Interval:
    """Mean success of an entry, with the interval described above, inside 0..1.

    Args:
        cells: Success of each seed on each question, in 0..1.

    Raises:
        ValueError: There is no cell, or one is not finite.
    """
    return uncertain(cells, 0.0).interval


def difference(one: Cells, other: Cells) -> Difference:
    """Mean of one - other, paired by seed and question, with the interval described above, inside -1..1.

    Args:
        one: Success of each seed on each question, in 0..1.
        other: That of the other entry, with the same seeds and the same questions in the same order.

    Raises:
        ValueError: The cells do not belong to the same seeds and questions, or as `success`.
    """
    if one.shape != other.shape:
        raise ValueError(f"paired cells must have the same seeds and questions: {one.shape} against {other.shape}")
    found = uncertain(one - other, -1.0)
    return Difference(found.mean, *found.limits(), found.p)


def cost(values: Sequence[float]) -> Interval:
    """Mean of one number a seed, e.g. seconds, with Student's interval; NaN limits for one seed.

    Raises:
        ValueError: There is none.
    """
    if not values:
        raise ValueError("an interval needs a value for each seed")
    return estimate(values)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values of several differences, corrected: with no difference at all one is below 0.05 in 5 % of cases only.

    Holm's step-down: the smallest of n is multiplied by n, the next by n - 1 and so on; none is below one before it,
    and none above 1. NaN stays, and does not count.

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
