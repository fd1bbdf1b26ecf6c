"""Rows of a local file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aepo.files.json_data import problem
from aepo.files.paths import local
from aepo.files.rows import rows
from aepo.tasks.reading.row import DataError, Row


def read_file(path: str | Path) -> Iterator[Row]:
    """The rows of a `.jsonl`, `.json` or `.parquet` file, in order; see `rows`.

    Raises:
        DataError: The file is missing, empty or broken, or of another kind; the line names it.
    """
    path = local(path)
    if path.suffix not in (".jsonl", ".json", ".parquet"):
        raise DataError(f"cannot read {path}: a data file is .jsonl (one JSON object a line), .json or .parquet")
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    empty = True
    try:
        for at, fields in rows(path):
            empty, place = False, f"{path}, {at}"
            if not isinstance(fields, dict):
                raise DataError(f"{place}: a {type(fields).__name__}; write one JSON object a line")
            # Parquet has types such as dates, which are checked only in the fields that are used.
            if path.suffix != ".parquet" and (wrong := problem(fields, "the row")) is not None:
                raise DataError(f"{place}: {wrong}")
            yield Row(fields, place)
    except ValueError as error:
        raise DataError(str(error)) from None
    if empty:
        raise DataError(f"data file {path} holds no rows")
