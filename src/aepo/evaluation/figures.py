"""Computes the figures of data sets, and makes their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from statistics import fmean

from aepo.evaluation.intervals import Interval, estimate
from aepo.evaluation.prices import Prices
from aepo.evaluation.scoring import Scored
from aepo.terminal.table import Lines

PUBLISHED = {"gaia": 47.6, "hle": 11.2, "webwalkerqa": 43.0}
"""Pass@1 in per cent that the paper (arXiv 2510.14545) reports for AEPO with Qwen3-14B. Not measured here."""

PUBLISHED_BY = "AEPO, Qwen3-14B, arXiv 2510.14545"


@dataclass(frozen=True)
class Figures:
    """The results of one model on one data set.

    Attributes:
        name: The data set's name.
        title: Its name in tables.
        scored: Its questions; at least one.
    """

    name: str
    title: str
    scored: Sequence[Scored]

    @property
    def samples(self) -> int:
        """Number of answers per question."""
        return len(self.scored[0].correct)

    @property
    def unreadable(self) -> int:
        """Number of answers whose verdict could not be read."""
        return sum(one is None for question in self.scored for one in question.correct)

    @property
    def cut_off(self) -> float:
        """The share of the answers that a limit ended."""
        return fmean(answer.cut_off for question in self.scored for answer in question.answered.answers)

    def passes(self, k: int) -> Interval | None:
        """Unbiased Pass@k; None if a question has fewer than k answers that could be read.

        Pass@1 leaves out questions without a readable answer; it is None if all are such.
        """
        values = [question.passes(k) for question in self.scored]
        if k == 1:
            values = [value for value in values if not isnan(value)]
        return None if not values or any(map(isnan, values)) else estimate(values, 0.0, 1.0)

    def bounds(self) -> tuple[float, float]:
        """Pass@1 with all unreadable verdicts taken as wrong, and with all taken as right."""
        low, high = (fmean(q.passes(1, unreadable) for q in self.scored) for unreadable in (False, True))
        return low, high

    @property
    def f1(self) -> Interval | None:
        """The mean F1; None where words are not compared."""
        values = [fmean(question.f1) for question in self.scored if question.f1 is not None]
        return estimate(values, 0.0, 1.0) if values else None

    def cost(self, prices: Prices) -> Interval | None:
        """The price of a question, all its answers together; None in files of older versions."""
        values = [question.answered.cost(prices) for question in self.scored]
        known = [value for value in values if value is not None]
        return estimate(known, least=0.0) if len(known) == len(values) else None

    def mean(self, what: str) -> float:
        """The mean of "calls", "tokens" or "seconds" over the questions."""
        return fmean(getattr(question.answered, what) for question in self.scored)


def table(figures: Sequence[Figures], prices: Prices | None = None) -> Lines:
    """Make a head, and a row for each data set: scores in per cent with intervals; costs if there are prices."""
    ks = sorted({1, *(one.samples for one in figures)})
    head = ["data set", "questions", "score", *(f"Pass@{k}" for k in ks), "F1", "tool calls", "tokens", "s / question"]
    if prices:
        head.append("cost / question")
    published = any(one.name in PUBLISHED for one in figures)
    if published:
        head.append("published Pass@1, not measured here")
    rows = [head]
    for one in figures:
        row = [one.title, str(len(one.scored)), one.scored[0].score.split(":")[0]]
        row += [percent(one.passes(k)) for k in ks]
        row += [percent(one.f1), f"{one.mean('calls'):.2f}", f"{one.mean('tokens'):.0f}", f"{one.mean('seconds'):.2f}"]
        if prices:
            row.append("-" if (cost := one.cost(prices)) is None else f"{cost:.3g}")
        rows.append([*row, str(PUBLISHED.get(one.name, ""))] if published else row)
    return rows


def notes(figures: Sequence[Figures], prices: Prices | None = None) -> list[str]:
    """Write the notes that explain the table, each in a line."""
    told = [
        "Per cent, with 95 % intervals over questions (Student's; Wilson's where all questions agree); "
        "calls and tokens are means of one trajectory."
    ]
    if prices:
        tools = "".join(f", {price:g} for a call of {name}" for name, price in sorted(prices.tools.items()) if price)
        told.append(
            f"Cost of all {figures[0].samples} answers of a question at {prices.prompt:g} for a million prompt tokens, "
            f"{prices.sampled:g} for a million sampled ones{tools}; prompts count in full for every turn, kept tool "
            "results as if they were asked for, a judge not at all."
        )
    if any(one.name in PUBLISHED for one in figures):
        told.append(f"Published: {PUBLISHED_BY}, with its own judge, search and selection of questions.")
    judged = sorted({q.score for one in figures for q in one.scored if q.score.startswith("judge:")})
    for name in judged:
        _, prompt, model = name.split(":", 2)
        told.append(f"Judge {model}, prompt {prompt}: scores of another judge or prompt are not comparable.")
    for one in figures:
        if one.unreadable:
            low, high = one.bounds()
            told.append(
                f"{one.title}: {one.unreadable} of {len(one.scored) * one.samples} verdicts could not be read and are "
                f"left out; with them Pass@1 is between {100 * low:.1f} and {100 * high:.1f}."
            )
        if one.cut_off:
            told.append(f"{one.title}: {100 * one.cut_off:.1f} % of the trajectories were ended by a limit.")
    return told


def percent(value: Interval | None, form: str = ".1f") -> str:
    """Write an interval in per cent, e.g. "47.6 [40.1, 55.0]"; "-" for None."""
    return "-" if value is None else f"{value.percent:{form}}"
