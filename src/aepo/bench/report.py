"""Writes the table of a measurement, and the same figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from aepo.bench.parts import SHARING, Described, Measured, PartKind
from aepo.doctor.finding import size
from aepo.terminal.table import Lines

READING: dict[PartKind, str] = {
    "sampling": "estimate: what aepo doctor says of the peak memory",
    "agreement": "sampler/trainer: mean and largest difference of ln p, nats; out: share of ratios outside 0.8 to 1.2",
    "tree": f"training: trajectories share tokens, so that flat reads each of them {SHARING:g} times and the tree once",
}
"""Explanations of the lines, by the kind of part."""
ORDER: dict[PartKind, int] = {"sampling": 0, "generate": 0, "flat": 1, "tree": 2, "agreement": 3, "push": 4}
HEAD = ["part", "measured", "compared", "peak memory", "estimate"]


def to_json(about: Described, found: Sequence[Measured]) -> dict[str, Any]:
    """All figures by the names of parts, in bytes, seconds or nats; "fits": whether free memory holds the estimate."""
    return {
        "model": about.name,
        "machine": {key: value for key, value in asdict(about).items() if key not in ("name", "shape", "model")},
        "shape": asdict(about.shape),
        "parts": {
            one.part.name: {
                "state": one.state,
                **({"note": one.note} if one.note else {}),
                "rows": one.part.rows,
                "prompt": one.part.prompt,
                "tokens": one.part.tokens,
                **one.figures,
                "peak_bytes": one.peak,
                "estimate_bytes": one.estimate,
                "fits": None if one.estimate is None else one.estimate <= about.free,
            }
            for one in found
        },
    }


def lines(found: Sequence[Measured]) -> Lines:
    """A line for each part; parts that are compared stand together."""
    by_name = {one.part.name: one for one in found}
    table = [HEAD]
    for one in sorted(found, key=lambda one: (ORDER[one.part.kind], one.part.rows)):
        if one.part.kind == "agreement":
            table += _agreement(one)
        else:
            compared = _compared(one, by_name)
            table.append([one.part.name, _measured(one), compared, _bytes(one.peak), _bytes(one.estimate)])
            if one.part.kind == "flat" and one.state == "measured":
                table.append(["optimizer step", _seconds(one.figures["optimizer_seconds"]), "", "", ""])
    return table


def notes(about: Described, found: Sequence[Measured]) -> list[str]:
    """The model and the machine, and the notes on parts that are shorter or missing."""
    trained = "" if about.trained == about.shape.parameters else f", {_millions(about.trained)} of them trained"
    threads = f" ({about.threads} {'thread' if about.threads == 1 else 'threads'})" if about.on_cpu else ""
    model = f"{about.name}: {_millions(about.shape.parameters)} parameters{trained}, {about.dtype}"
    told = [f"{model}, on {about.device}{threads}, {about.packages}"]
    kinds = {one.part.kind for one in found if one.state == "measured"}
    told += [text for kind, text in READING.items() if kind in kinds]
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one.note:
            reason = one.note if one.state == "measured" else f"{one.state}: {one.note}"
            reasons.setdefault(reason, []).append(one.part.name)
    return told + [f"{'; '.join(names)}: {reason}" for reason, names in reasons.items()]


def _measured(one: Measured) -> str:
    if one.state != "measured":
        return one.state
    if one.part.kind == "push":
        return _seconds(one.figures["push_seconds"])
    return f"{_number(one.figures['tokens_per_second'])} tokens/s"


def _compared(one: Measured, by_name: dict[str, Measured]) -> str:
    """The comparison of a part with the part beside it, if both were measured."""
    if one.state != "measured":
        return ""
    if one.part.kind == "push":
        return f"next token after {_seconds(one.figures['next_token_seconds'])}"
    other = by_name.get(replace(one.part, kind="sampling" if one.part.kind == "generate" else "flat").name)
    # They are compared only if both have done the same work.
    if other is None or other.state != "measured" or other.part.tokens != one.part.tokens:
        return ""
    if one.part.kind == "generate":
        return f"sampling is {other.figures['tokens_per_second'] / one.figures['tokens_per_second']:.2f} x as fast"
    if one.part.kind == "tree":
        return f"{one.figures['seconds'] / other.figures['seconds']:.2f} of flat's time"
    return ""


def _agreement(one: Measured) -> Lines:
    if one.state != "measured":
        return [[one.part.name, one.state, "", "", ""]]
    figures = one.figures
    return [
        [
            f"sampler/trainer {layout}",
            f"{figures[f'{layout}/mean']:.2g} nats",
            f"max {figures[f'{layout}/max']:.2g}, {figures[f'{layout}/outside']:.2%} out",
            "",
            "",
        ]
        for layout in ("flat", "tree")
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.1f} ms"


def _bytes(count: int | None) -> str:
    return "" if count is None else size(count)


def _millions(count: int) -> str:
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.1f} M"
