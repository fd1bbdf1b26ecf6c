"""What a run learned and where it fails, from the outcomes of its evaluations, and the figures of an evaluation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from aepo.evaluation.folder import EvaluationFolder
from aepo.evaluation.intervals import Interval
from aepo.evaluation.outcomes import Attempt, Outcome, read_outcomes
from aepo.types import SUCCESS
from aepo.viewer.source import Source

KINDS = range(2, 13)
"""How many values a key of metadata may have to be a kind of question."""

FEWEST = 1.5
"""Questions that each value of such a key needs, on average: a key that tells single questions apart says nothing."""

MOST_WRONG = 8
"""Wrong answers that are listed."""

FIGURES = (
    ("eval/success", "success, sampled"),
    ("eval/pass@", "at least one of {} samples"),
    ("eval/greedy", "success, greedy"),
    ("eval/calls", "tool calls a trajectory"),
    ("eval/tokens", "tokens a trajectory"),
)


def learned(source: Source) -> dict[str, Any]:
    """The first and the last evaluation side by side.

    Returns:
        "steps", of the evaluations; "questions", each with its attempts "before" and "after", where "before" is null
        if there is only one evaluation; "by", success by metadata; "wrong", the most frequent wrong answers of the last
        evaluation; "report", the figures of an evaluation's folder.

    Raises:
        ValueError: A file is broken; the message names it.
    """
    steps = list(source.folder.outcome_files())
    last = read_outcomes(source.folder, steps[-1]) if steps else []
    first = {one.id: one for one in read_outcomes(source.folder, steps[0])} if len(steps) > 1 else {}
    return {
        "steps": [steps[0], steps[-1]] if len(steps) > 1 else steps,
        "questions": [_question(first.get(one.id), one) for one in last],
        "by": _by_metadata(first, last),
        "wrong": _wrong(last),
        "report": report(source),
    }


def report(source: Source) -> list[dict[str, Any]]:
    """The figures of an evaluation: for each part its name, and rows of label, value, low, high and unit."""
    if source.kind != "evaluation":
        return []
    folder = EvaluationFolder(source.folder.path)
    if folder.begun:
        names = [path.parent.name for path in sorted(folder.path.glob("*/results.jsonl"))]
        return [{"name": name, "figures": _of_data_set(folder, name)} for name in names]
    kept = source.folder.read_json("report.json") or {}
    rows = []
    for start, label in FIGURES:
        for name in (name for name in kept if name.startswith(start) and not name.endswith(("_low", "_high"))):
            low, high = kept.get(f"{name}_low"), kept.get(f"{name}_high")
            unit = "" if start in ("eval/calls", "eval/tokens") else "share"
            rows.append([label.format(name.removeprefix(start)), kept[name], low, high, unit])
    rows.append(["questions", kept.get("questions"), None, None, ""])
    return [{"name": str(kept.get("task", "")), "figures": [row for row in rows if row[1] is not None]}]


def _of_data_set(folder: EvaluationFolder, name: str) -> list[list[Any]]:
    found = folder.results(name, name)
    rows = [_row("Pass@1", found.passes(1))]
    if found.samples > 1:
        rows.append(_row(f"Pass@{found.samples}", found.passes(found.samples)))
    rows += [["cut off by a limit", found.cut_off, None, None, "share"]]
    return [*rows, ["questions", len(found.scored), None, None, ""]]


def _row(label: str, value: Interval | None) -> list[Any]:
    return [label, None, None, None, "share"] if value is None else [label, value.mean, value.low, value.high, "share"]


def _question(before: Outcome | None, after: Outcome) -> dict[str, Any]:
    return {
        "id": after.id,
        "question": after.question or after.id,
        "targets": list(after.targets),
        "before": None if before is None else _attempts(before),
        "after": _attempts(after),
    }


def _attempts(of: Outcome) -> dict[str, Any]:
    """How often each answer was sampled, most often first, the share of right ones, and the greedy answer."""
    counted = Counter(of.sampled)
    return {
        "right": _success(of),
        "answers": [[count, *_said(one)] for one, count in counted.most_common()],
        "greedy": None if of.greedy is None else _said(of.greedy),
    }


def _said(one: Attempt) -> list[Any]:
    return [one.answer, one.stop, one.reward >= SUCCESS]


def _success(of: Outcome) -> float:
    return fmean(one.reward >= SUCCESS for one in of.sampled)


def _by_metadata(first: dict[str, Outcome], last: Sequence[Outcome]) -> list[dict[str, Any]]:
    groups: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for one in last:
        for key, value in one.metadata.items():
            groups[key][str(value)].append(one)
    return [
        {
            "key": key,
            "rows": [
                {
                    "value": value,
                    "questions": len(found),
                    "before": _mean([_success(first[one.id]) for one in found if one.id in first]),
                    "after": _mean([_success(one) for one in found]),
                }
                for value, found in sorted(values.items())
            ],
        }
        for key, values in groups.items()
        if len(values) in KINDS and sum(map(len, values.values())) >= FEWEST * len(values)
    ]


def _wrong(last: Sequence[Outcome]) -> list[dict[str, Any]]:
    given: Counter[str] = Counter()
    asked: dict[str, set[str]] = defaultdict(set)
    for one in last:
        for attempt in one.sampled:
            if attempt.answer is not None and attempt.reward < SUCCESS:
                given[attempt.answer] += 1
                asked[attempt.answer].add(one.id)
    return [{"answer": a, "count": n, "questions": len(asked[a])} for a, n in given.most_common(MOST_WRONG)]


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None
