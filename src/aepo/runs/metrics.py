"""`metrics.jsonl` of a run folder: one object a step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aepo.files.json_data import finite
from aepo.files.lines import append_lines, read_lines
from aepo.files.whole import write_whole
from aepo.runs.folder import writing


class JsonlTracker:
    """Appends one object per step to a file, such as {"step": 3, "reward/mean": 0.4}; each line is on the disk at once.

    Numbers keep every bit; NaN and infinities become null. If a kill left an incomplete last line, it is dropped when
    the file is opened again.

    Raises:
        RunFolderError: The file cannot be written.
        ValueError: The file does not hold metrics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keep(read_metrics(path))

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line; a line that does not fit on the disk is removed.

        Raises:
            RunFolderError: The disk is full or refuses.
        """
        with writing(self.path):
            append_lines(self.path, [_line({"step": step, **metrics})])

    def truncate_after(self, step: int) -> None:
        """Delete the lines of later steps, because a run that is resumed after `step` logs them again.

        Raises:
            RunFolderError: The file cannot be written.
        """
        self._keep([row for row in read_metrics(self.path) if row["step"] <= step])

    def close(self) -> None:
        """Do nothing, because each line is already on the disk."""

    def _keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Leave exactly these rows in the file; a file that has them already does not change."""
        data = "".join(_line(row) + "\n" for row in rows).encode()
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() or self.path.read_bytes() != data:
                write_whole(self.path, data)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """One mapping per line, without an incomplete last line; empty if the file does not exist.

    Raises:
        ValueError: Another line is broken; the message names file and line.
    """
    return read_lines(path, _row)


def steps_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of training steps."""
    return [row for row in rows if "budget/trajectories" in row]


def evaluations_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of evaluations."""
    return [row for row in rows if "eval/success" in row]


def _row(line: str) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError("no object with a whole 'step'")
    return row


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(finite(row), ensure_ascii=False, allow_nan=False)
