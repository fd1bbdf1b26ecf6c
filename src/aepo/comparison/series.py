"""Several seeds' curves as one line with a band."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SeriesLine = tuple[Sequence[float], Sequence[float]]
"""(x, y) of one seed; x rises."""

POINTS = 60
SMOOTHED_STEPS = 5


@dataclass(frozen=True)
class Band:
    """Mean over seeds, and the lowest and highest of them, at each x."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def band(lines: Sequence[SeriesLine]) -> Band:
    """The seeds' mean and spread, where all of them have values; between its points a seed's curve is straight.

    Raises:
        ValueError: There is no line, or one has no point.
    """
    if not lines or not all(len(x) and len(x) == len(y) for x, y in lines):
        raise ValueError("a band needs a line with points for each seed")
    start, end = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    grid = sorted({x for line in lines for x in line[0] if start <= x <= end} | {float(start), float(end)})
    if len(grid) > POINTS:
        grid = np.linspace(start, end, POINTS).tolist()
    values = np.array([np.interp(grid, x, y) for x, y in lines])
    return Band(list(map(float, grid)), *(f(values, axis=0).tolist() for f in (np.mean, np.min, np.max)))


def band_of_points(lines: Sequence[SeriesLine]) -> Band:
    """The seeds' mean in both directions, point by point: the first of each seed, the second, and so on to the last.

    For few points whose x differs between seeds, such as evaluations by what they cost. Where a seed has more points
    than another, those before its last one are left out.

    Raises:
        ValueError: As `band`.
    """
    if not lines or not all(len(x) and len(x) == len(y) for x, y in lines):
        raise ValueError("a band needs a line with points for each seed")
    shortest = min(len(x) for x, _ in lines)
    xs, ys = (np.array([[*line[at][: shortest - 1], line[at][-1]] for line in lines], dtype=float) for at in (0, 1))
    return Band(*(values.tolist() for values in (xs.mean(axis=0), ys.mean(axis=0), ys.min(axis=0), ys.max(axis=0))))


def smoothed(values: Sequence[float], steps: int = SMOOTHED_STEPS) -> list[float]:
    """Each with the mean of it and those before it, `steps` at most."""
    return [float(np.mean(values[max(0, at + 1 - steps) : at + 1])) for at in range(len(values))]


def line(rows: Sequence[Mapping[str, object]], x: str, y: str, steps: int = 1) -> SeriesLine:
    """One metric against another, of the rows that have it.

    Args:
        rows: Metrics.
        x: Name of the metric along the axis; a row without it is at 0.
        y: Name of the metric.
        steps: Of the running mean.
    """
    found = [(float(row.get(x, 0.0)), float(row[y])) for row in rows if row.get(y) is not None]  # type: ignore[arg-type]
    return [at for at, _ in found], smoothed([value for _, value in found], steps)


def shares(histograms: Sequence[Mapping[str, int]]) -> dict[int, float]:
    """Share of each whole number in the sum of histograms {value as text: count}; empty if nothing was counted."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update({int(value): count for value, count in histogram.items()})
    return {value: count / total.total() for value, count in sorted(total.items())} if total.total() else {}
