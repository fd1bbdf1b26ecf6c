"""`metrics.jsonl` of a run folder: one object a step."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolderError


class JsonlTracker:
    """Appends one object a step to a file: {"step": 3, "reward/mean": 0.4, ...}; every line is flushed.

    Numbers keep every bit; NaN and infinities become null. If a kill left an incomplete last line, it is dropped when
    the file is opened again.

    Raises:
        RunFolderError: The file cannot be written.
        ValueError: The file does not hold metrics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _rewrite(path, read_metrics(path))
        self._file = _opened(path)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line; a line that does not fit on the disk is removed.

        Raises:
            RunFolderError: The disk is full or refuses.
        """
        line = _line({"step": step, **metrics})
        end = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise RunFolderError(f"cannot write {self.path}: {error.strerror}; make room and resume the run") from error

    def truncate_after(self, step: int) -> None:
        """Delete the lines of later steps, which a run resumed after `step` logs again.

        Raises:
            RunFolderError: The file cannot be written.
        """
        rows = [row for row in read_metrics(self.path) if row["step"] <= step]
        os.close(self._file)
        _rewrite(self.path, rows)
        self._file = _opened(self.path)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """One mapping per line, without an incomplete last line; empty if the file does not exist.

    Raises:
        ValueError: Another line is broken; the message names file and line.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    torn = lines.pop()
    rows = [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    with contextlib.suppress(ValueError):
        rows.append(_row(path, len(lines) + 1, torn))
    return rows


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError(f"{path}, line {number}: no object with a whole 'step'")
    return row


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(_finite(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if value is None or isinstance(value, str | int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


def _rewrite(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write exactly these rows to the file, unless it has them already."""
    data = b"".join(map(_line, rows))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            write_whole(path, data)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror}; choose a run folder that can be written"
        ) from error


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunFolderError(
            f"cannot write {path}: {error.strerror}; choose a run folder that can be written"
        ) from error
