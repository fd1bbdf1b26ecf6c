"""Compares two models on the same questions.

The difference is taken for each question first, so hard questions add no noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import fmean

from aepo.evaluation.figures import Figures, percent
from aepo.evaluation.intervals import estimate, paired_difference
from aepo.evaluation.scoring import Scored
from aepo.terminal.table import Lines


def comparison(names: tuple[str, str], pairs: Sequence[tuple[Figures, Figures]]) -> tuple[Lines, list[str]]:
    """Make a table of the paired differences over the questions that both models have a score on, and notes on it.

    Raises:
        ValueError: A data set was scored in two ways, or on other questions.
    """
    rows = [["data set", "questions", names[0], names[1], "difference of Pass@1", "difference of F1"]]
    left_out = 0
    for a, b in pairs:
        matched = _matched(a, b)
        readable = [(x, y) for x, y in matched if not isnan(x.passes(1)) and not isnan(y.passes(1))]
        left_out += len(matched) - len(readable)
        if not readable:
            raise ValueError(f"{a.name}: no question has a verdict that could be read of both models")
        first, second = ([pair[side].passes(1) for pair in readable] for side in (0, 1))
        row = [a.title, str(len(readable)), *(percent(estimate(side, 0.0, 1.0)) for side in (first, second))]
        row.append(percent(paired_difference(first, second), "+.1f"))
        f1 = [(fmean(x.f1), fmean(y.f1)) for x, y in matched if x.f1 is not None and y.f1 is not None]
        one, other = [pair[0] for pair in f1], [pair[1] for pair in f1]
        row.append(percent(paired_difference(one, other) if f1 else None, "+.1f"))
        rows.append(row)
    told = ["First minus second, in per cent; an interval without 0 in it is a difference."]
    if left_out:
        told.append(f"{left_out} questions without a readable verdict of both are left out.")
    return rows, told


def _matched(a: Figures, b: Figures) -> list[tuple[Scored, Scored]]:
    ways = {question.score for one in (a, b) for question in one.scored}
    if len(ways) > 1:
        raise ValueError(
            f"{a.name}: scores of {' and '.join(sorted(ways))} cannot be compared: score both the same way"
        )
    others = {question.answered.id: question for question in b.scored}
    ids = {question.answered.id for question in a.scored}
    if ids != others.keys():
        only = sorted(ids ^ others.keys())
        raise ValueError(
            f"{a.name}: {len(only)} questions were asked of one model only, e.g. {only[0]!r}; ask the same"
        )
    return [(question, others[question.answered.id]) for question in a.scored]
