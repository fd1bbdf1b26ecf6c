"""Where a run's metrics go: a JSON line a step, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aepo.training.run_folder import RunFolderError, write_whole

NAMES = ("jsonl", "tensorboard")


class Tracker(Protocol):
    """Takes a run's metrics."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record one step: numbers, or histograms {value as text: count}."""
        ...

    def close(self) -> None:
        """Write what is left; nothing is logged afterwards."""
        ...


class JsonlTracker:
    """Appends one object a step to a file: {"step": 3, "reward/mean": 0.4, ...}; every line is flushed.

    Numbers keep every bit; NaN and infinities become null. A last line that a kill tore is dropped when the file is
    opened again.

    Raises:
        RunFolderError: The file cannot be written.
        ValueError: The file holds something else than metrics.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _rewrite(path, read_metrics(path))
        self._file = _opened(path)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append one line; a line that does not fit on the disk leaves nothing behind.

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
        """Drop the lines of later steps, which a run resumed after `step` will log again.

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


class TensorBoardTracker:
    """Writes scalars and histograms for TensorBoard.

    Args:
        folder: Where its files go.
        resumed: The step after which the run goes on: TensorBoard hides what was logged for later ones.

    Raises:
        ValueError: The package is not installed.
    """

    def __init__(self, folder: Path, resumed: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                'tracker "tensorboard" needs the package tensorboard: pip install "aepo-rl[tensorboard]"'
            ) from error
        purge = None if resumed is None else resumed + 1
        self._writer: Any = SummaryWriter(str(folder), purge_step=purge)

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record one step; a histogram of whole numbers gets one bar a number."""
        for name, value in metrics.items():
            if isinstance(value, Mapping):
                self._histogram(name, value, step)
            elif value is not None:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _histogram(self, name: str, counts: Mapping[str, int], step: int) -> None:
        filled = {float(value): count for value, count in counts.items() if count}
        if not filled:
            return
        edges = [math.floor(min(filled)) - 0.5 + i for i in range(math.ceil(max(filled)) - math.floor(min(filled)) + 2)]
        bars = [sum(n for value, n in filled.items() if low < value <= low + 1.0) for low in edges[:-1]]
        self._writer.add_histogram_raw(
            name,
            min=min(filled),
            max=max(filled),
            num=sum(filled.values()),
            sum=sum(value * n for value, n in filled.items()),
            sum_squares=sum(value * value * n for value, n in filled.items()),
            bucket_limits=edges[1:],
            bucket_counts=bars,
            global_step=step,
        )


def make_trackers(names: Sequence[str], folder: Path, resumed: int | None = None) -> list[Tracker]:
    """A run's trackers: the JSON lines, without which nothing can be shown or resumed, and the named ones.

    Args:
        names: Of `NAMES`; "jsonl" is there without being named.
        folder: The run folder: `metrics.jsonl` and `tensorboard/` are inside.
        resumed: The step after which the run goes on: what was logged for later ones is dropped.

    Raises:
        ValueError: A name is unknown, or its package is not installed.
        RunFolderError: A file cannot be written.
    """
    for name in names:
        if name not in NAMES:
            raise ValueError(f"unknown tracker {name!r}, known are {', '.join(NAMES)}")
    trackers: list[Tracker] = []
    try:
        lines = JsonlTracker(folder / "metrics.jsonl")
        trackers.append(lines)
        if resumed is not None:
            lines.truncate_after(resumed)
        if "tensorboard" in names:
            trackers.append(TensorBoardTracker(folder / "tensorboard", resumed))
    except BaseException:
        for made in trackers:
            made.close()
        raise
    return trackers


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """One mapping a line; empty if the file does not exist; a torn last line is left out.

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
    """Leave exactly these rows in the file, without touching a file that has them."""
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
