"""Makes samples of rows: of a file, of a list of objects, or of a data frame."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from aepo.files.paths import local
from aepo.files.rows import rows as rows_of_file
from aepo.tasks.checks import checked
from aepo.types import Sample

_TABLES = {".csv": ",", ".tsv": "\t"}


def samples(
    rows: str | PathLike[str] | Iterable[Mapping[str, Any]],
    question: str = "question",
    target: str | None = "answer",
    id: str | None = None,
    metadata: Collection[str] | None = None,
) -> list[Sample]:
    """Make a sample of each row.

    A whole number becomes a text. Other numbers are refused, because 1.10 in a file is read as 1.1.

    Args:
        rows: A file (`.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet`), a list of objects, a pandas frame, or a data set
            of `datasets`.
        question: The column of the question.
        target: The column of the right answer, or of a list of accepted ones; None for questions without one.
        id: The column of the id; by default `Task` numbers the samples.
        metadata: The columns for `Sample.metadata`; by default all others.

    Raises:
        ValueError: The file cannot be read, there is no row, a column is missing, or a value cannot be used. The
            message names the row.

    Examples:
        >>> samples([{"q": "What is 6 * 7?", "a": 42, "level": 1}], question="q", target="a")
        [Sample(question='What is 6 * 7?', target='42', id='', metadata={'level': 1})]
    """
    used = [name for name in (question, target, id) if name is not None]
    where = str(rows) if isinstance(rows, str | PathLike) else "rows"
    made = []
    for place, row in _placed(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"{where}, {place}: a {type(row).__name__}: give objects with names and values")
        for name in (*used, *(metadata or ())):
            if name not in row:
                raise ValueError(
                    f"{where}, {place} has no {name!r}, it has {', '.join(map(repr, row))}: "
                    "name the columns by question=... and target=..."
                )
        others = [name for name in row if name not in used] if metadata is None else metadata
        one = Sample(
            _text(row[question]),
            "" if target is None else _text(row[target]),
            "" if id is None else _text(row[id]),
            {name: row[name] for name in others},
        )
        checked([one], "row-", f"{where}, {place}")
        made.append(one)
    if not made:
        raise ValueError(f"{where}: there is no row")
    return made


def _placed(rows: Any) -> Iterator[tuple[str, Any]]:
    """The rows with their places."""
    if isinstance(rows, str | PathLike):
        path = local(rows)
        try:
            yield from _table(path) if path.suffix in _TABLES else rows_of_file(path)
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None
        return
    # A frame of pandas gives its columns when it is iterated.
    listed = rows.to_dict("records") if hasattr(rows, "iterrows") else rows
    yield from ((f"row {number}", row) for number, row in enumerate(listed))


def _table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=_TABLES[path.suffix], strict=True)
        try:
            names = next(reader, [])
            for cells in reader:
                if cells and len(cells) != len(names):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: expected {len(names)} columns, found {len(cells)}"
                    )
                if any(cells):
                    yield f"line {reader.line_num}", dict(zip(names, cells, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8: write it as UTF-8") from None


def _text(value: Any) -> Any:
    """A whole number as a text; any other value as it is, to be checked."""
    if isinstance(value, list | tuple):
        return [_text(one) for one in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
