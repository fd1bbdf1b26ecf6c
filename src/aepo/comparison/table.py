"""Computes the numbers of a comparison, and makes its tables and the notes that explain them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from aepo.comparison.plan import Plan
from aepo.comparison.results import Result, by_entry
from aepo.comparison.statistics import Cells, Difference, cost, difference, holm, success
from aepo.evaluation.intervals import Interval
from aepo.evaluation.outcomes import Outcome
from aepo.terminal.table import Best, Lines
from aepo.types import SUCCESS

OutcomeScore = Callable[[Outcome], float]
USED = {"trajectories": "trajectories", "sampled_tokens": "tokens_sampled", "executed_calls": "executed_calls"}
"""The metric `budget/*` of each kind of budget."""


@dataclass(frozen=True)
class EntryRow:
    """The numbers of one entry.

    Attributes:
        label: The entry's label.
        seeds: The seeds of its finished runs.
        success: The mean over seeds and questions, for each measure ("Pass@1" and so on).
        differences: The same measures minus those of the first entry, over the seeds that both have; empty for the
            first entry. The p-values of a measure are corrected for all entries that were compared.
        costs: The mean over seeds of each cost, by its name.
        short_of_budget: Seeds whose run ended before its budget was used.
    """

    label: str
    seeds: list[int]
    success: dict[str, Interval]
    differences: dict[str, Difference]
    costs: dict[str, Interval]
    short_of_budget: list[int]


def rows(plan: Plan, results: Sequence[Result]) -> list[EntryRow]:
    """Compute a row for each entry, in the plan's order; entries without a finished run are left out.

    Raises:
        ValueError: The runs answered different questions.
    """
    asked = {tuple(outcome.id for outcome in result.after) for result in results}
    if len(asked) > 1:
        raise ValueError("the runs answered different questions: was the task changed between them?")
    by_label = by_entry(plan, results)
    first = by_label[plan.labels[0]]
    return _corrected(
        [_row(plan, own, first if label != plan.labels[0] else []) for label, own in by_label.items() if own]
    )


def _row(plan: Plan, own: Sequence[Result], first: Sequence[Result]) -> EntryRow:
    measures = _measures(own[0].after)
    ours, theirs = ({result.seed: result.after for result in side} for side in (own, first))
    both = sorted(ours.keys() & theirs.keys())
    one, other = ([side[seed] for seed in both] for side in (ours, theirs))
    return EntryRow(
        label=own[0].label,
        seeds=[result.seed for result in own],
        success={name: success(_cells(list(ours.values()), score)) for name, score in measures.items()},
        differences={name: difference(_cells(one, f), _cells(other, f)) for name, f in measures.items() if both},
        costs={
            "steps": cost([len(result.steps) for result in own]),
            **{name: cost([result.used(used) for result in own]) for name, used in USED.items()},
            "seconds": cost([result.seconds for result in own]),
        },
        short_of_budget=[r.seed for r in own if r.used(USED[plan.budget.kind]) < plan.budget.amount],
    )


def _corrected(found: Sequence[EntryRow]) -> list[EntryRow]:
    """Correct the p-values of each measure for all entries that were compared with the first."""
    differences = [dict(row.differences) for row in found]
    for measure in found[0].success if found else ():
        several = [one for one in differences if measure in one]
        for one, p in zip(several, holm([one[measure].p for one in several]), strict=True):
            one[measure] = replace(one[measure], p=p)
    return [replace(row, differences=one) for row, one in zip(found, differences, strict=True)]


def _measures(questions: Sequence[Outcome]) -> dict[str, OutcomeScore]:
    samples = len(questions[0].sampled)
    measures: dict[str, OutcomeScore] = {"Pass@1": _pass_at_1}
    if samples > 1:
        measures[f"Pass@{samples}"] = lambda outcome: outcome.passes(samples)
    if questions[0].greedy is not None:
        measures["greedy"] = lambda outcome: float(outcome.greedy is not None and outcome.greedy.reward >= SUCCESS)
    return measures


def _cells(runs: Sequence[Sequence[Outcome]], score: OutcomeScore) -> Cells:
    return np.array([[score(outcome) for outcome in outcomes] for outcomes in runs], dtype=np.float64)


COSTS = {"steps": "steps", "sampled_tokens": "sampled tokens", "executed_calls": "executed calls", "seconds": "seconds"}
"""The columns of the cost table: each cost with its title."""


def tables(found: Sequence[EntryRow]) -> list[Lines]:
    """Make the tables of success, paired differences and costs, each with a head; empty tables are left out."""
    differences = [
        [row.label, measure, f"{versus.percent:+.1f}", _p(versus.p), versus.verdict]
        for row in found
        for measure, versus in row.differences.items()
    ]
    costs = [[row.label, *(_cost(row.costs[name]) for name in COSTS)] for row in found]
    made = [
        (["success, %", "seeds", *found[0].success], _success(found)),
        (["difference, points", "measure", "mean", "p", "verdict"], differences),
        (["cost of training", *COSTS.values()], costs),
    ]
    return [[head, *lines] for head, lines in made if lines]


def _success(found: Sequence[EntryRow]) -> list[list[str]]:
    """Make a line for each entry; if there are several, the best one of each measure is marked."""
    best = {name: max(row.success[name].mean for row in found) for name in found[0].success}
    lines = []
    for row in found:
        cells = [row.label, str(len(row.seeds))]
        for name, value in row.success.items():
            text = f"{value.percent:.1f}"
            cells.append(Best(text) if len(found) > 1 and value.mean == best[name] else text)
        lines.append(cells)
    return lines


def _p(value: float) -> str:
    return "-" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _cost(interval: Interval) -> str:
    half = "" if math.isnan(interval.low) else f" ± {interval.high - interval.mean:,.0f}"
    return f"{interval.mean:,.0f}{half}"


def notes(plan: Plan, found: Sequence[EntryRow], results: Sequence[Result], failed: Sequence[str]) -> list[str]:
    """Write the notes that explain the tables, each in a line."""
    questions = results[0].after
    first = found[0]
    samples = len(questions[0].sampled)
    lines = [
        f"Budget of each run: {plan.budget.amount:,} {plan.budget.kind.replace('_', ' ')}. "
        f"Measured on {len(questions):,} held-out questions, {samples} samples each.",
        "Brackets are 95 % intervals over seeds and questions, ± those over seeds (Student's t); "
        "where all answers agree, Wilson's.",
        f"Differences are to {plan.labels[0]}, paired by seed and question. "
        "An interval with 0 in it is inside the noise.",
        *_told_of_p(plan.labels[0], sum(bool(row.differences) for row in found)),
    ]
    before = [result.before for result in results if result.label == first.label]
    lines.append(f"Before training Pass@1 was {success(_cells(before, _pass_at_1)).percent:.1f} %.")
    if len(plan.seeds) == 1:
        lines.append("One seed: the intervals leave out what another training would change.")
    for row in found:
        if row.short_of_budget:
            seeds = ", ".join(map(str, row.short_of_budget))
            lines.append(
                f"{row.label} (seed {seeds}) made all its train.steps before its budget was used: "
                "this is no comparison under equal budgets; raise train.steps."
            )
    lines += [
        f"{one} and {other} came to the same in every run: what distinguishes them never acted."
        for one, other in combinations([row.label for row in found], 2)
        if _alike(results, one, other)
    ]
    return lines + [f"Failed: {line}" for line in failed]


def _told_of_p(first: str, compared: int) -> list[str]:
    told = "p is the chance of a difference as far from 0 if the two are equal; better or worse: p is 0.05 or less."
    several = (
        f"{compared} entries are compared with {first}, and each may differ by luck: so p is corrected for that "
        "(Holm), in each measure. May be chance: the interval leaves out 0, but p after the correction is above 0.05."
    )
    return [told, several][: min(compared, 2)]


def _alike(results: Sequence[Result], one: str, other: str) -> bool:
    """Tell whether two entries had the same costs and the same answers with every seed."""
    sides = [
        {r.seed: (r.after, *(r.used(used) for used in USED.values())) for r in results if r.label == label}
        for label in (one, other)
    ]
    return sides[0] == sides[1]


def _pass_at_1(outcome: Outcome) -> float:
    return outcome.passes(1)
