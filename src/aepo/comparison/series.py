"""Makes one line with a band of several seeds' curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SeriesLine = tuple[Sequence[float], Sequence[float]]
"""The curve of one seed as (x, y); x rises."""

POINTS = 60
SMOOTHED_STEPS = 5


@dataclass(frozen=True)
class Band:
    """The mean over seeds, the lowest and the highest, at each x."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def band(lines: Sequence[SeriesLine]) -> Band:
    """The seeds' mean and spread over the x that all of them cover; curves are straight between their points.

    No line, or a line without points, is a ValueError.
    """
    _check(lines)
    start, end = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    grid = sorted({x for line in lines for x in line[0] if start <= x <= end} | {float(start), float(end)})
    if len(grid) > POINTS:
        grid = np.linspace(start, end, POINTS).tolist()
    values = np.array([np.interp(grid, x, y) for x, y in lines])
    return Band(list(map(float, grid)), *(f(values, axis=0).tolist() for f in (np.mean, np.min, np.max)))


def band_of_points(lines: Sequence[SeriesLine]) -> Band:
    """The seeds' mean in x and y, point by point: of the first points of all seeds, of the second ones, and so on.

    This is for few points whose x differs between seeds, such as evaluations by their cost. The last points of all
    seeds belong together, so a seed with more points than another leaves out some before its last one. No line, or a
    line without points, is a ValueError.
    """
    _check(lines)
    shortest = min(len(x) for x, _ in lines)
    xs, ys = (np.array([[*line[at][: shortest - 1], line[at][-1]] for line in lines], dtype=float) for at in (0, 1))
    return Band(*(values.tolist() for values in (xs.mean(axis=0), ys.mean(axis=0), ys.min(axis=0), ys.max(axis=0))))


def smoothed(values: Sequence[float], steps: int = SMOOTHED_STEPS) -> list[float]:
    """Replace each value by the mean of at most `steps` values that end with it."""
    return [float(np.mean(values[max(0, at + 1 - steps) : at + 1])) for at in range(len(values))]


def line(rows: Sequence[Mapping[str, object]], x: str, y: str, steps: int = 1) -> SeriesLine:
    """The curve of one metric against another from the rows that have it.

    Args:
        rows: The metrics of a run.
        x: Name of the metric on the x axis; a row without it is at 0.
        y: Name of the metric on the y axis.
        steps: Length of the running mean, in rows.
    """
    found = [(float(row.get(x, 0.0)), float(row[y])) for row in rows if row.get(y) is not None]  # type: ignore[arg-type]
    return [at for at, _ in found], smoothed([value for _, value in found], steps)


def shares(histograms: Sequence[Mapping[str, int]]) -> dict[int, float]:
    """The share of each value in histograms {value as text: count}, added up; empty if nothing was counted."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update({int(value): count for value, count in histogram.items()})
    return {value: count / total.total() for value, count in sorted(total.items())} if total.total() else {}


def _check(lines: Sequence[SeriesLine]) -> None:
    if not lines or not all(len(x) and len(x) == len(y) for x, y in lines):
        raise ValueError("a band needs a line with points for each seed")
