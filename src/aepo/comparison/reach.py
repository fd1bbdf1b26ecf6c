"""Two tables: the costs until an entry is as good as the first entry's best, and the range of its policy entropy."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from aepo.comparison.plan import Plan
from aepo.comparison.results import Result, by_entry
from aepo.comparison.series import band_of_points, line, smoothed
from aepo.comparison.table import USED as METRICS
from aepo.training.alarm import SMOOTHED_STEPS

USED = tuple(METRICS.values())
SUCCESS = "eval/success"
ENTROPY = "entropy/policy"


def crossing(x: Sequence[float], y: Sequence[float], level: float) -> float | None:
    """The least x at which the line through the points reaches `level`; None if it never does."""
    for at, value in enumerate(y):
        if value >= level:
            if at == 0:
                return float(x[0])
            share = (level - y[at - 1]) / (value - y[at - 1])
            return float(x[at - 1] + share * (x[at] - x[at - 1]))
    return None


def reach_table(plan: Plan, results: Sequence[Result]) -> list[list[str]]:
    """Make a table of what training had used when the seeds' mean success reached the first entry's best.

    Between evaluations the mean is a straight line. The table has a head and a line for each entry; it is empty if runs
    were not evaluated during training.
    """
    curves = {}
    for label, found in by_entry(plan, results).items():
        if own := [result for result in found if len(result.evaluations) > 2]:
            curves[label] = {
                used: band_of_points([line(r.evaluations, f"budget/{used}", SUCCESS) for r in own]) for used in USED
            }
    first = plan.labels[0]
    if first not in curves:
        return []
    level = max(curves[first]["trajectories"].mean)
    lines = [[f"to reach {100 * level:.1f} %", *(used.replace("_", " ") for used in USED), f"calls of {first}'s"]]
    own_calls = crossing(curves[first]["executed_calls"].x, curves[first]["executed_calls"].mean, level)
    for label, curve in curves.items():
        needed = [crossing(curve[used].x, curve[used].mean, level) for used in USED]
        share = f"{needed[-1] / own_calls:.2f}" if needed[-1] is not None and own_calls else "-"
        lines.append([label, *("never" if value is None else f"{value:,.0f}" for value in needed), share])
    return lines


def entropy_table(plan: Plan, results: Sequence[Result], share: float | None) -> list[list[str]]:
    """Make a table of policy entropy: at the start, its extremes, at the end, and the steps below and above its band.

    The band is the start +- share: steps below it are a collapse, steps above it an eruption. Each value is computed
    for a run, then averaged over seeds. A run's entropy is the running mean over the last steps, which also raises the
    alarm. The table has a head and a line for each entry; it is empty without a share.
    """
    if share is None:
        return []
    percent = f"{100 * share:.0f} %"
    ends = [f"steps below -{percent}", f"above +{percent}"]
    lines = [["policy entropy, nats", "start", "lowest", "highest", "end", *ends]]
    for label, own in by_entry(plan, results).items():
        found = []
        for result in own:
            values = [float(row[ENTROPY]) for row in result.steps if row.get(ENTROPY) is not None]
            if len(values) > SMOOTHED_STEPS:
                start = fmean(values[:SMOOTHED_STEPS])
                after = smoothed(values, SMOOTHED_STEPS)[SMOOTHED_STEPS - 1 :]
                below = fmean(start - value > share * start for value in after)
                above = fmean(value - start > share * start for value in after)
                found.append((start, min(after), max(after), after[-1], below, above))
        if found:
            *nats, below, above = np.mean(found, axis=0)
            lines.append([label, *(f"{value:.3f}" for value in nats), f"{100 * below:.0f} %", f"{100 * above:.0f} %"])
    return lines if len(lines) > 1 else []
