"""The page's data as plain values by address, the same for the server and the single file.

| address | what |
|---|---|
| view.json | the opened folders, their settings and sections |
| runs/0/metrics.json | the first folder's metrics, one object a row |
| runs/0/learned.json | its held-out questions before and after, see `aepo.viewer.learned` |
| runs/0/instructions.json | its instructions, with their worth over time; none without a population |
| runs/0/sections/10.json | digests of the questions of its section "10" |
| runs/0/sections/10/3.json | the whole fourth question of it |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from aepo.runs.meanings import meaning
from aepo.runs.metrics import read_metrics
from aepo.runs.records import nth_record, read_trees
from aepo.types import SUCCESS
from aepo.viewer.learned import report
from aepo.viewer.question import digest, whole
from aepo.viewer.source import Source, SourceSection, open_source

FORMAT = 1
Stamp = tuple[Path, int, int]
"""State of a file: path, time of change in ns, bytes."""


def view(sources: Sequence[Source], live: bool, keys: Sequence[str] = ("0", "1"), up: bool = False) -> dict[str, Any]:
    """The opened folders with their settings and sections.

    Args:
        sources: One folder, or two to be compared.
        live: Whether the page can ask a server again.
        keys: What the server calls each folder.
        up: Whether the page has one above it.
    """
    return {
        "format": FORMAT,
        "live": live,
        "up": up,
        "success": SUCCESS,
        "runs": [
            {
                "name": source.name,
                "path": str(source.folder.path),
                "kind": source.kind,
                "facts": source.facts(),
                "rules": source.rules(),
                "settings": source.settings,
                "steps": source.settings.get("train.steps"),
                "evaluations": [_evaluation(path, f"{key}.{n}") for n, path in enumerate(source.evaluations())],
                "sections": [
                    {"key": section.key, "label": section.label, "step": section.step} for section in source.sections()
                ],
            }
            for source, key in zip(sources, keys, strict=False)
        ],
    }


def runs(sources: Sequence[Source], path: Path) -> dict[str, Any]:
    """A folder of runs as a list: what each is, how far it is, what its evaluations and alarms say."""
    return {"format": FORMAT, "live": True, "list": str(path), "runs": [_listed(one, path) for one in sources]}


def _listed(source: Source, path: Path) -> dict[str, Any]:
    rows = _metric_rows(source)
    evaluated = [row["eval/success"] for row in rows if row.get("eval/success") is not None]
    trained = [row for row in rows if "reward/mean" in row]
    last = trained[-1] if trained else {}
    return {
        "name": str(source.folder.path.relative_to(path)),
        "facts": source.facts(),
        "step": last.get("step", 0),
        "steps": source.settings.get("train.steps"),
        "success": [evaluated[0], evaluated[-1]] if evaluated else None,
        "reward": last.get("reward/mean"),
        "alarm": any(value == 1 for name, value in last.items() if name.startswith("alarm/")),
    }


def _evaluation(path: Path, key: str) -> dict[str, Any]:
    """An evaluation inside of a run: its name, its key at the server, and what its `report.json` says."""
    told = report(open_source(path)) if (path / "report.json").is_file() else []
    return {"name": path.name, "key": key, "report": told}


def metrics(source: Source, after: int = 0) -> dict[str, Any]:
    """The rows of the run's metrics from number `after` on, and the number of all rows, which resuming may lower.

    "meanings" has unit and sentence of each metric in them.

    ValueError names a broken line.
    """
    rows = _metric_rows(source)
    if after > len(rows):
        after = 0
    names = dict.fromkeys(name for row in rows[after:] for name in row)
    told = {name: [found.unit, found.text] for name in names if (found := meaning(name)) is not None}
    return {"after": after, "count": len(rows), "rows": rows[after:], "meanings": told}


def _metric_rows(source: Source) -> list[dict[str, Any]]:
    file = source.folder.metrics_file
    return _rows(_stamp(file)) if file.is_file() else []


def instructions(source: Source) -> list[dict[str, Any]]:
    """The instructions of a run, in the order of their ids; ValueError names a broken line.

    Each has its text, the id that it came from, the steps after which it joined and left (None if it has not), whether
    it is the best now, and its points: step, worth, the ends of its interval, w, groups.
    """
    found: dict[int, dict[str, Any]] = {}
    rows = read_metrics(source.folder.instructions_file)
    for row in rows:
        for member in row["members"]:
            about = {name: member[name] for name in ("id", "parent", "born", "text")}
            kept = found.setdefault(member["id"], {**about, "left": None, "best": False, "points": []})
            worth = member["worth"] or [None] * 3
            kept["points"].append([row["step"], *worth, member["weight"], member["groups"]])
    for kept in found.values():
        last = kept["points"][-1][0]
        kept["left"] = last if last < rows[-1]["step"] else None
        kept["best"] = kept["id"] == rows[-1]["best"]
    return [found[id] for id in sorted(found)]


def questions(section: SourceSection) -> list[dict[str, Any]]:
    """Digests of all questions of a section; ValueError names a broken file and its line."""
    found: list[dict[str, Any]] = []
    for file in section.files:
        found += [{**one, "index": len(found) + number} for number, one in enumerate(_digests(_stamp(file)))]
    return found


def question(section: SourceSection, index: int) -> dict[str, Any]:
    """One whole question; KeyError if there is none, ValueError names a broken file and its line."""
    left = index
    for file in section.files:
        record, count = nth_record(file, left)
        if record is not None:
            return whole(record, index)
        left -= count
    raise KeyError(index)


def _stamp(file: Path) -> Stamp:
    state = file.stat()
    return file, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=256)
def _digests(stamp: Stamp) -> list[dict[str, Any]]:
    return [digest(record, number) for number, record in enumerate(read_trees(stamp[0]))]


@lru_cache(maxsize=64)
def _rows(stamp: Stamp) -> list[dict[str, Any]]:
    return read_metrics(stamp[0])
