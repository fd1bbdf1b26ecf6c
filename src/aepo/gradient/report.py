"""The tables of a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from statistics import fmean
from typing import Any

import torch

from aepo.gradient.measure import ADVANTAGES, SPACES, Gradients
from aepo.gradient.methods import GradientMethod, settings_apart
from aepo.gradient.quality import bootstrapped, gains, halves_agree, interval, quality
from aepo.terminal.table import Lines

HEAD = [
    "method",
    "calls",
    "tokens",
    "cosine [95 %]",
    "length",
    "aside",
    "signal a batch",
    "a 1,000 calls",
    "a 10,000 tokens",
    "a call, by GRPO [95 %]",
    "by GRPO's best weight",
]


def rows(measured: Gradients, methods: Sequence[GradientMethod], draws: int = 500) -> list[dict[str, Any]]:
    """One record for each method, kind of advantages and space, with plain values for JSON."""
    found: list[dict[str, Any]] = []
    for advantages in ADVANTAGES:
        for space in SPACES:
            labels = [m.label for m in methods if (advantages, space, m.label) in measured.gradients]
            if not labels:
                continue
            reference_MD = torch.stack(measured.reference[advantages, space])
            gradients = [torch.stack(measured.gradients[advantages, space, label]) for label in labels]
            qualities = [quality(one_ND, reference_MD) for one_ND in gradients]
            drawn = bootstrapped(gradients, reference_MD, draws)
            calls = [fmean(measured.calls[label]) for label in labels]
            tokens = [fmean(measured.tokens[label]) for label in labels]
            signals = [[one.signal for one in draw] for draw in drawn]
            known = [q.signal for q in qualities]
            best = max(_like_first(labels, methods), key=lambda number: (not isnan(known[number]), known[number]))
            by_best = gains(known, signals, calls, tokens, best)
            for number, gain in enumerate(gains(known, signals, calls, tokens)):
                ends = interval([draw[number].cosine for draw in drawn])
                found.append(
                    {
                        "advantages": advantages,
                        "space": space,
                        "method": labels[number],
                        "calls": calls[number],
                        "tokens": tokens[number],
                        **vars(qualities[number]),
                        "cosine_interval": ends,
                        "by_first": vars(gain),
                        "best_of_first": labels[best],
                        "by_best": vars(by_best[number]),
                        "halves_agree": halves_agree(reference_MD),
                    }
                )
    return found


def tables(found: Sequence[dict[str, Any]]) -> list[Lines]:
    """One table for each kind of advantages and space."""
    made: list[Lines] = []
    for advantages in ADVANTAGES:
        for space in SPACES:
            mine = [row for row in found if (row["advantages"], row["space"]) == (advantages, space)]
            if mine:
                title = f"{advantages}, {space}"
                made.append([[title, *HEAD[1:]], *map(_line, mine)])
    return made


def notes(measured: Gradients, methods: Sequence[GradientMethod], found: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader must know."""
    agree = {(row["advantages"], row["space"]): row["halves_agree"] for row in found}
    halves = ", ".join(f"{' '.join(key)} {value:.2f}" for key, value in agree.items())
    return [
        f"{measured.batches} batches of each method, {min(map(len, measured.reference.values()))} of the reference "
        "(independent trajectories of its own, plain GRPO)",
        f"cosine of the reference's two halves: {halves}; if it is low, measure more batches",
        "cosine and length: mean gradient along the reference's; aside: what is across it, by the reference's length",
        "by GRPO's best weight: by the one of most signal among the methods that sample as GRPO does; it was chosen on "
        "the same batches, which favours it",
        "signal: squared component along the reference by the variance of one batch; ?: too few batches to tell",
        *(f"{method.label}: {settings_apart(method)}" for method in methods),
    ]


def _line(row: dict[str, Any]) -> list[str]:
    low, high = row["cosine_interval"]
    signal = row["signal"]
    return [
        row["method"],
        f"{row['calls']:.0f}",
        f"{row['tokens']:.0f}",
        f"{_shown(row['cosine'])} [{_shown(low)}, {_shown(high)}]",
        _shown(row["length"]),
        _shown(row["aside"]),
        _shown(signal, 4),
        _shown(1000 * signal / row["calls"], 4) if row["calls"] else "?",
        _shown(10_000 * signal / row["tokens"], 4),
        _interval(row["by_first"]["call"]),
        _interval(row["by_best"]["call"]),
    ]


def _like_first(labels: Sequence[str], methods: Sequence[GradientMethod]) -> list[int]:
    """The numbers of the labels whose trajectories are sampled as those of the first method, and not otherwise."""
    rules = methods[0].algorithm.exploration()
    alike = {method.label for method in methods if method.algorithm.exploration() == rules}
    return [number for number, label in enumerate(labels) if label in alike]


def _interval(figures: Sequence[float]) -> str:
    ratio, low, high = figures
    return f"{_shown(ratio)} [{_shown(low)}, {_shown(high)}]"


def _shown(value: float, digits: int = 2) -> str:
    return "?" if isnan(value) else f"{value:.{digits}f}"
