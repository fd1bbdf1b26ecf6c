"""Writes the report of a comparison: tables as Markdown and JSON, figures as PNG and SVG."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import TYPE_CHECKING, Any

from aepo.comparison import figures
from aepo.comparison.plan import Plan
from aepo.comparison.reach import entropy_table, reach_table
from aepo.comparison.results import Result, by_entry
from aepo.comparison.series import SMOOTHED_STEPS, Band, band, band_of_points, line, shares
from aepo.comparison.table import notes, rows, tables
from aepo.files.json_data import finite
from aepo.files.whole import write_whole
from aepo.terminal.table import markdown, show
from aepo.training.alarm import SMOOTHED_STEPS as START_STEPS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(plan: Plan, results: Sequence[Result], failed: Sequence[str], with_figures: bool) -> None:
    """Write the report into the comparison's folder and show its tables.

    Args:
        plan: The comparison.
        results: The results of its finished runs, at least one.
        failed: A line for each run that failed.
        with_figures: True to draw figures.

    Raises:
        ValueError: The runs answered different questions.
        OSError: The folder cannot be written.
    """
    found = rows(plan, results)
    shown = tables(found) + [
        table
        for table in (reach_table(plan, results), entropy_table(plan, results, plan.runs[0].config.train.entropy_band))
        if table
    ]
    lines = notes(plan, found, results, failed)
    title = f"{', '.join(row.label for row in found)} on {plan.runs[0].config.task.name}"
    write_whole(plan.folder / "comparison.md", markdown(title, shown, lines).encode())
    data = {"budget": plan.budget.model_dump(), "rows": [asdict(row) for row in found], "failed": list(failed)}
    write_whole(plan.folder / "comparison.json", (json.dumps(finite(data), indent=1) + "\n").encode())
    show(shown, lines)
    if with_figures:
        folder = plan.folder / "figures"
        folder.mkdir(exist_ok=True)
        for name, figure in draw(plan, results):
            figures.save(figure, folder, name)


def draw(plan: Plan, results: Sequence[Result]) -> Iterator[tuple[str, Figure]]:
    """Draw every figure for which the runs have data; yield its name with it."""
    looks, shared = figures.looks_of(plan.labels), plan.runs[0].config.train
    of = by_entry(plan, results)

    def over_steps(metric: str) -> dict[str, Band]:
        lines = {
            label: [line(r.steps, "step", metric, SMOOTHED_STEPS) for r in own if _has(r.steps, metric)]
            for label, own in of.items()
        }
        return {label: band(own) for label, own in lines.items() if own}

    def by_cost(used: str) -> dict[str, Band]:
        lines = {
            label: [line(r.evaluations, f"budget/{used}", "eval/success") for r in own if r.evaluations]
            for label, own in of.items()
        }
        return {label: band_of_points(own) for label, own in lines.items() if own}

    def distribution(metric: str) -> dict[str, list[dict[int, float]]]:
        found = {
            label: [shares([row[metric] for row in r.steps if metric in row]) for r in own] for label, own in of.items()
        }
        return {label: [seed for seed in seeds if seed] for label, seeds in found.items() if any(seeds)}

    for used, title in (("tokens_sampled", "sampled tokens"), ("executed_calls", "executed tool calls")):
        if bands := by_cost(used):
            yield f"success_by_{used}", figures.success_by(title, bands, looks)
    if bands := over_steps("entropy/policy"):
        start = fmean(
            row["entropy/policy"] for r in results for row in r.steps[:START_STEPS] if "entropy/policy" in row
        )
        yield "policy_entropy", figures.policy_entropy(bands, looks, start, shared.entropy_band)
    if (low := over_steps("clip/low_fraction")) and (high := over_steps("clip/high_fraction")):
        yield "clip_fractions", figures.clip_fractions(low, high, looks)
    if bands := over_steps("branch/top3_share"):
        yield "branch_concentration", figures.branch_concentration(bands, looks)
    if (queries := over_steps("group/distinct_queries")) and (clusters := over_steps("group/clusters")):
        yield "diversity", figures.diversity(queries, clusters, looks)
    if found := distribution("entropy/high_runs_histogram"):
        yield "high_entropy_runs", figures.high_entropy_runs(found)
    if found := distribution("budget/m_histogram"):
        yield "global_samples", figures.global_samples(found)


def _has(rows: Sequence[Mapping[str, Any]], metric: str) -> bool:
    return any(row.get(metric) is not None for row in rows)
