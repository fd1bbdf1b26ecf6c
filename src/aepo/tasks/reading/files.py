"""Rows of a local file: JSONL, one object a line, or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from aepo.json_data import problem
from aepo.paths import local
from aepo.tasks.reading.row import DataError, Row


def read_file(path: str | Path) -> Iterator[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file, in order.

    Raises:
        DataError: The file is missing, empty or broken, or of another kind; the line names it.
    """
    path = local(path)
    if path.suffix not in (".jsonl", ".json", ".parquet"):
        raise DataError(f"cannot read {path}: a data file is .jsonl (one JSON object a line) or .parquet")
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    empty = True
    for row in _parquet(path) if path.suffix == ".parquet" else _jsonl(path):
        empty = False
        yield row
    if empty:
        raise DataError(f"data file {path} holds no rows")


def _jsonl(path: Path) -> Iterator[Row]:
    # Not splitlines: JSON may hold other line separators.
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            raise DataError(f"{place}: not UTF-8") from None
        except (ValueError, RecursionError) as error:
            whole = " (one array over the whole file? write one object a line)" if line.lstrip()[:1] == b"[" else ""
            raise DataError(f"{place}: not JSON: {error}{whole}") from None
        if not isinstance(fields, dict):
            raise DataError(f"{place}: a {type(fields).__name__}; write one JSON object a line")
        if (wrong := problem(fields, "the row")) is not None:
            raise DataError(f"{place}: {wrong}")
        yield Row(fields, place)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f'reading {path} needs pyarrow: pip install "aepo-rl[data]"') from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file: {' '.join(str(error).split())}") from None
    for number, fields in enumerate(table.to_pylist(), 1):
        yield Row(fields, f"{path}, row {number}")
