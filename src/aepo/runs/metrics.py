"""`metrics.jsonl` of a run folder: one object a step, such as {"step": 3, "reward/mean": 0.4}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aepo.files.lines import read_lines


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """One mapping per line, without an incomplete last line; empty if the file does not exist.

    Raises:
        ValueError: Another line is broken; the message names file and line.
    """
    return read_lines(path, _row)


def _row(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError("no object with a whole 'step'")
    return row
