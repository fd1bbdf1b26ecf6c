"""The page's data as plain values by address, the same for the server and the single file.

| address | what |
|---|---|
| view.json | the opened folders, their settings and sections |
| runs/0/metrics.json | the first folder's metrics, one object a row |
| runs/0/sections/10.json | digests of the questions of its section "10" |
| runs/0/sections/10/3.json | the whole fourth question of it |
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from aepo.runs.metrics import read_metrics
from aepo.runs.records import nth_record, read_trees
from aepo.types import SUCCESS
from aepo.viewer.question import digest, whole
from aepo.viewer.source import Source, SourceSection

FORMAT = 1
Stamp = tuple[Path, int, int]
"""State of a file: path, time of change in ns, bytes."""


def view(sources: Sequence[Source], live: bool) -> dict[str, Any]:
    """The opened folders with their settings and sections.

    Args:
        sources: One folder, or two to be compared.
        live: Whether the page can ask a server again.
    """
    return {
        "format": FORMAT,
        "live": live,
        "success": SUCCESS,
        "runs": [
            {
                "name": source.name,
                "path": str(source.folder.path),
                "kind": source.kind,
                "facts": source.facts(),
                "rules": source.rules(),
                "settings": source.settings,
                "sections": [
                    {"key": section.key, "label": section.label, "step": section.step} for section in source.sections()
                ],
            }
            for source in sources
        ],
    }


def metrics(source: Source, after: int = 0) -> dict[str, Any]:
    """The rows of the run's metrics from number `after` on, and the number of all rows, which resuming may lower.

    ValueError names a broken line.
    """
    file = source.folder.metrics_file
    rows = _rows(_stamp(file)) if file.is_file() else []
    if after > len(rows):
        after = 0
    return {"after": after, "count": len(rows), "rows": rows[after:]}


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


@lru_cache(maxsize=4)
def _rows(stamp: Stamp) -> list[dict[str, Any]]:
    return read_metrics(stamp[0])
