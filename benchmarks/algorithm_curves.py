"""The curves on the algorithms' pages: each entry of a comparison by itself, all the others in grey behind it.

Interrupted runs are left out.

    aepo compare compare-atlas rollout.max_tool_calls=4 --jobs 2
    python benchmarks/algorithm_curves.py runs/compare-atlas --out docs/images
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aepo.comparison.series import Band, SeriesLine, band, band_of_points, line
from aepo.runs.metrics import read_metrics

OWN, OTHERS = "#0072B2", "0.78"


def main() -> None:
    """Draw one picture for each entry."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="its folder")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    success, entropy, seeds = curves(options.comparison)
    for label in success:
        draw(label, success, entropy, seeds[label]).savefig(options.out / f"curve-{label}.png", dpi=130)
        print(f"{label}: {seeds[label]} seeds")


def curves(comparison: Path) -> tuple[dict[str, Band], dict[str, Band], dict[str, int]]:
    """For each entry: held-out success by executed calls, policy entropy by step, and how many seeds are finished."""
    success: dict[str, list[SeriesLine]] = defaultdict(list)
    entropy: dict[str, list[SeriesLine]] = defaultdict(list)
    for folder in sorted((comparison / "runs").iterdir()):
        rows = read_metrics(folder / "metrics.jsonl")
        steps = [row for row in rows if "budget/executed_calls" in row]
        if not steps or not any("eval/success" in row and row["step"] == steps[-1]["step"] for row in rows):
            continue
        label = folder.name.rpartition("-seed-")[0]
        calls: dict[Any, float] = {0: 0.0} | {row["step"]: row["budget/executed_calls"] for row in steps}
        evaluations = [{**row, "calls": calls[row["step"]]} for row in rows if "eval/success" in row]
        success[label].append(line(evaluations, "calls", "eval/success"))
        entropy[label].append(line(steps, "step", "entropy/policy", steps=5))
    return (
        {label: band_of_points(lines) for label, lines in success.items()},
        {label: band(lines) for label, lines in entropy.items()},
        {label: len(lines) for label, lines in success.items()},
    )


def draw(label: str, success: dict[str, Band], entropy: dict[str, Band], seeds: int) -> Figure:
    """Two panels: success by calls, entropy by step."""
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, bands in ((left, success), (right, entropy)):
        panel(axes, label, bands)
    left.set_xlabel("executed tool calls in training")
    left.set_ylabel("held-out success, Pass@1 (%)")
    left.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    left.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
    right.set_xlabel("training step")
    right.set_ylabel("policy entropy (nats per token)")
    right.set_ylim(bottom=0)
    left.set_title(f"{label}, {seeds} seeds; the other methods in grey", loc="left", fontsize=10)
    return figure


def panel(axes: Axes, label: str, bands: dict[str, Band]) -> None:
    """One entry's mean and spread over its seeds, in front of the others' means."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    for other, drawn in bands.items():
        if other != label:
            axes.plot(drawn.x, drawn.mean, color=OTHERS, lw=1)
    own = bands[label]
    axes.fill_between(own.x, own.low, own.high, color=OWN, alpha=0.15, lw=0)
    axes.plot(own.x, own.mean, color=OWN, lw=2, marker="o", markersize=3.5, markevery=max(1, len(own.x) // 8))


if __name__ == "__main__":
    main()
