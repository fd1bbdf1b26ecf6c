"""Draws the figures of a comparison. Each function takes plain data and returns a matplotlib figure.

Entries differ in colour, line style and marker, so that they can be told apart on a grey print too. The colours are
Okabe and Ito's, which colour-blind readers can tell apart, and a dark red. A line is the mean over seeds, and its band
is their spread.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepo.comparison.series import Band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#000000", "#0072B2", "#009E73", "#CC79A7", "#8C8C8C", "#E69F00", "#56B4E9", "#D55E00", "#661100", "#332288")
STYLES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1.5, 1, 1.5)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
MARKS = 6
WIDTH, HEIGHT = 6.4, 3.8
LEAST_CLIP_SCALE = 0.001
LEGEND_WIDTH = 1.9
STEP = "training step"


@dataclass(frozen=True)
class Look:
    """The look of an entry's line, the same in all figures."""

    colour: str
    style: Any
    marker: str


Looks = Mapping[str, Look]
Bands = Mapping[str, Band]
Shares = Mapping[str, Sequence[Mapping[int, float]]]
"""The share of each whole number, for each entry and each seed."""


def require() -> None:
    """Check that matplotlib is installed, before hours of training.

    Raises:
        ValueError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('figures need matplotlib: pip install "aepo-rl[plots]", or leave them out with --no-figures')


def looks_of(labels: Sequence[str]) -> dict[str, Look]:
    """Choose a look for each entry. Style and marker alone, without colour, give 36 different looks."""
    looks = zip(cycle(COLOURS), cycle(STYLES), cycle(MARKERS), strict=False)
    return {label: Look(*look) for label, look in zip(labels, looks, strict=False)}


def success_by(cost: str, bands: Bands, looks: Looks) -> Figure:
    """Draw the share of sampled trajectories that succeeded against a cost of training, e.g. "sampled tokens"."""
    figure = _curves(looks, [bands], f"{cost} in training", "held-out success, Pass@1 (%)")
    _percent(figure.axes)
    figure.axes[0].xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    return figure


def policy_entropy(bands: Bands, looks: Looks, start: float, tolerance: float | None) -> Figure:
    """Draw policy entropy over training, and the range in which no alarm is raised.

    Args:
        bands: The entropy in nats per token, for each entry.
        looks: The look of each entry.
        start: The mean entropy of the entries at the start, which is the middle of the range.
        tolerance: Half the range, as a share of `start`; None draws no range.
    """
    figure = _curves(looks, [bands], STEP, "policy entropy (nats per token)")
    (axes,) = figure.axes
    if tolerance is not None:
        low, high = start * (1 - tolerance), start * (1 + tolerance)
        axes.axhspan(low, high, color="0.93", lw=0, zorder=0)
        note = f"start ± {100 * tolerance:.0f} %"
        axes.annotate(note, (0.99, high), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="0.4")
    axes.set_ylim(bottom=0)
    return figure


def clip_fractions(low: Bands, high: Bands, looks: Looks) -> Figure:
    """Draw the shares of trained tokens whose ratio left the clip range, below and above."""
    figure = _curves(looks, [low, high], STEP, "trained tokens (%)", "")
    _percent(figure.axes)
    titles = ("below the clip range", "above the clip range")
    for axes, bands, title in zip(figure.axes, (low, high), titles, strict=True):
        axes.set_title(title, loc="left", fontsize=10)
        # If nothing was clipped, the data give no scale.
        axes.set_ylim(0, max(LEAST_CLIP_SCALE, 1.05 * max(max(band.high) for band in bands.values())))
    return figure


def branch_concentration(bands: Bands, looks: Looks) -> Figure:
    """Draw the share of a group's branches that start on its three most branched trajectories."""
    figure = _curves(looks, [bands], STEP, "branches on the three most\nbranched trajectories (%)")
    _percent(figure.axes)
    figure.axes[0].set_ylim(0, 1.03)
    return figure


def diversity(queries: Bands, clusters: Bands, looks: Looks) -> Figure:
    """Draw how different the trajectories of a group are."""
    different = "distinct sequences of tool calls\n(% of the group's trajectories)"
    figure = _curves(looks, [queries, clusters], STEP, different, "clusters of tool calls\n(per group)")
    _percent(figure.axes[:1])
    return figure


def high_entropy_runs(shares: Shares) -> Figure:
    """Draw the lengths of runs of high-entropy turns after tool results: how many turns in a row stay uncertain."""
    return _heat_map(shares, "high-entropy turns in a row", "share of such rows (%)")


def global_samples(shares: Shares) -> Figure:
    """Draw the numbers of trajectories in a group that the budget rule lets start from the question."""
    return _heat_map(shares, "m, trajectories of a group that start from the question", "share of groups (%)")


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write the figure to `name`.png and `name`.svg; equal figures give equal files."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "aepo"}):
        figure.savefig(folder / f"{name}.png", dpi=160, bbox_inches="tight")
        figure.savefig(folder / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})


def _curves(looks: Looks, panels: Sequence[Bands], xlabel: str, *ylabels: str) -> Figure:
    """Draw panels side by side, with a legend to their right."""
    from matplotlib.figure import Figure

    width = WIDTH if len(panels) == 1 else 0.72 * len(panels) * WIDTH
    figure = Figure(figsize=(width + LEGEND_WIDTH, HEIGHT), layout="constrained")
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, bands, ylabel in zip(drawn, panels, ylabels, strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        _lines(axes, bands, looks)
    handles, labels = drawn[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.2)
    return figure


def _lines(axes: Axes, bands: Bands, looks: Looks) -> None:
    for number, (label, band) in enumerate(bands.items()):
        look, every = looks[label], max(1, len(band.x) // MARKS)
        axes.fill_between(band.x, band.low, band.high, color=look.colour, alpha=0.1, lw=0)
        axes.plot(
            band.x,
            band.mean,
            color=look.colour,
            linestyle=look.style,
            marker=look.marker,
            # Each line has its marks at other places, so that they do not hide each other.
            markevery=(number % every, every),
            markersize=4.5,
            lw=1.6,
            label=label,
        )


def _percent(panels: Sequence[Axes]) -> None:
    for axes in panels:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")


def _heat_map(shares: Shares, xlabel: str, what: str) -> Figure:
    """Draw a row for each entry and a column for each number; a cell has the mean over seeds and half their spread."""
    import numpy as np
    from matplotlib.figure import Figure

    numbers = {number for seeds in shares.values() for seed in seeds for number in seed}
    columns = range(min(numbers), max(numbers) + 1)
    cells = {label: np.array([[s.get(c, 0.0) for c in columns] for s in seeds]) for label, seeds in shares.items()}
    means = np.array([values.mean(axis=0) for values in cells.values()])
    size = (1.6 + 0.85 * max(4, len(columns)), 1.2 + 0.33 * max(3, len(cells)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(means, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, values in enumerate(cells.values()):
        for column in range(len(columns)):
            mean, half = means[row, column], np.ptp(values[:, column]) / 2
            if mean > 0:
                text = f"{100 * mean:.0f}" + (f" ± {100 * half:.0f}" if len(values) > 1 else "")
                text = text if mean >= 0.005 else "< 1"
                axes.text(column, row, text, ha="center", va="center", color="white" if mean > 0.6 else "black")
    axes.set_xticks(range(len(columns)), [str(column) for column in columns])
    axes.set_yticks(range(len(cells)), list(cells))
    axes.set_xlabel(xlabel)
    axes.set_title(f"{what}, mean of seeds ± half their spread", loc="left", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_color("0.8")
    return figure
