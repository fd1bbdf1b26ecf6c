"""Writes a run's metrics: as JSON lines, for TensorBoard, as a table, to a service, or to a function."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from aepo.files.json_data import finite
from aepo.files.lines import append_lines
from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolder, writing
from aepo.runs.metrics import read_metrics
from aepo.training.services import SERVICES, ServiceTracker

NAMES = ("jsonl", "tensorboard", "csv", *SERVICES)

OnStep: TypeAlias = Callable[[int, Mapping[str, Any]], None]
"""Takes the number of a step and its metrics: those of training, then those of an evaluation, if there was one."""


class Tracker(Protocol):
    """Records a run's metrics."""

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record one step: numbers, or histograms {value as text: count}."""
        ...

    def close(self) -> None:
        """Write all pending records; `log` may not be called afterwards."""
        ...


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


class TensorBoardTracker:
    """Writes scalars and histograms for TensorBoard.

    Args:
        folder: The folder of its files.
        resumed: The step after which the run goes on; TensorBoard hides the records of later steps.

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
        """Record one step; a histogram of whole numbers gets one bar per number."""
        for name, value in metrics.items():
            if isinstance(value, Mapping):
                self._histogram(name, value, step)
            elif value is not None:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write all pending records."""
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


class CsvTracker:
    """Writes `metrics.csv` when the run ends: a line per row of `metrics.jsonl`, a column per number.

    Args:
        lines: The file of the JSON lines.
    """

    def __init__(self, lines: Path) -> None:
        self._lines = lines

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Do nothing, because the JSON lines have the step."""

    def close(self) -> None:
        """Write the file.

        Raises:
            RunFolderError: It cannot be written.
        """
        rows = read_metrics(self._lines)
        columns = dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, Mapping))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        path = self._lines.with_suffix(".csv")
        with writing(path):
            write_whole(path, text.getvalue().encode())


@dataclass(frozen=True)
class Told:
    """Calls a function of the user after each step.

    Attributes:
        on_step: The function; what it raises stops the run, which leaves a checkpoint.
    """

    on_step: OnStep

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Call it with a copy of the metrics."""
        self.on_step(step, dict(metrics))

    def close(self) -> None:
        """Do nothing."""


def make_trackers(
    names: Sequence[str],
    folder: RunFolder,
    resumed: int | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    on_step: OnStep | None = None,
) -> list[Tracker]:
    """A run's trackers: the named ones, and always the JSON lines, because showing and resuming a run need them.

    Args:
        names: Names from `NAMES`; "jsonl" is always included.
        folder: The run folder.
        resumed: The step after which the run goes on; records of later steps are dropped.
        settings: All settings of the run by dotted key, for services.
        on_step: A function that is called after each step.

    Raises:
        ValueError: A name is unknown, or its package is not installed.
        RunFolderError: A file cannot be written.
    """
    for name in names:
        if name not in NAMES:
            raise ValueError(f"unknown tracker {name!r}, known are {', '.join(NAMES)}")
    trackers: list[Tracker] = []
    try:
        lines = JsonlTracker(folder.metrics_file)
        trackers.append(lines)
        if resumed is not None:
            lines.truncate_after(resumed)
        if "tensorboard" in names:
            trackers.append(TensorBoardTracker(folder.path / "tensorboard", resumed))
        if "csv" in names:
            trackers.append(CsvTracker(folder.metrics_file))
        trackers += [ServiceTracker(name, folder.path, settings) for name in names if name in SERVICES]
        if on_step is not None:
            trackers.append(Told(on_step))
    except BaseException:
        for made in trackers:
            made.close()
        raise
    return trackers


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(finite(row), ensure_ascii=False, allow_nan=False)
