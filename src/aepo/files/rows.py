"""Reads the rows of a data file, each with its place in the file."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Any

_PACKED: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": gzip.open,  # type: ignore[dict-item]
    b"BZh": bz2.open,  # type: ignore[dict-item]
    b"\xfd7zXZ": lzma.open,  # type: ignore[dict-item]
}
_BOM = b"\xef\xbb\xbf"


def rows(path: Path, columns: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each row with its place: "line 3", "entry 3" or "row 3". Blank lines are skipped.

    It reads JSON lines, one JSON array, a table with tabs (`.tsv`) and Parquet (`.parquet`). All but Parquet may be
    compressed.

    Args:
        path: The file.
        columns: The only columns to read from Parquet; all of them if it has none of these.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A row cannot be read; the message names file and place.
    """
    if path.suffix == ".parquet":
        yield from _parquet(path, columns)
        return
    with path.open("rb") as file:
        head = file.read(8)
    unpack = next((opened for mark, opened in _PACKED.items() if head.startswith(mark)), None)
    try:
        with unpack(path) if unpack else path.open("rb") as lines:
            yield from _table(path, lines) if ".tsv" in path.suffixes else _json(path, lines)
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}: the compressed file is damaged: {error}") from None


def _text(path: Path, lines: IO[bytes]) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, as text."""
    for number, line in enumerate(lines, 1):
        if b"\0" in line:
            raise ValueError(
                f"{path}, line {number}: expected UTF-8, found NUL bytes, as UTF-16 has; write it as UTF-8"
            )
        try:
            yield number, (line.removeprefix(_BOM) if number == 1 else line).decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"0x{error.object[error.start]:02x}"
            raise ValueError(
                f"{path}, line {number}: expected UTF-8, found the byte {byte}; write it as UTF-8"
            ) from None


def _json(path: Path, file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    lines = _text(path, file)
    begun = False
    for number, line in lines:
        if not line.strip():
            continue
        if not begun and line.lstrip().startswith("["):
            entries = _decoded(path, number, "".join([line, *(rest for _, rest in lines)]))
            yield from ((f"entry {place}", entry) for place, entry in enumerate(entries, 1))
            return
        begun = True
        yield f"line {number}", _decoded(path, number, line.rstrip())


def _decoded(path: Path, number: int, text: str) -> Any:
    """The JSON value of a line."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f"{path}, line {number}: nested too deep") from None
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()[:30]
        place = f"{path}, line {number + error.lineno - 1}"
        raise ValueError(f"{place}: expected an object in JSON, found {line!r} ({error.msg})") from None
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from None


def _table(path: Path, file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader((line for _, line in _text(path, file)), delimiter="\t", strict=True)
    try:
        names = next(reader, [])
        if not {"text", "contents"} & set(names):
            found = ", ".join(repr(name[:30]) for name in names[:4]) or "nothing"
            raise ValueError(f'{path}, line 1: expected names of columns, "text" among them, found {found}')
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(names):
                columns = f"expected {len(names)} columns, found {len(cells)}"
                raise ValueError(f"{path}, line {reader.line_num}: {columns}")
            yield f"line {reader.line_num}", dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: quotation marks that do not match ({error})") from None


def _parquet(path: Path, columns: Collection[str]) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(f'{path}: Parquet needs pyarrow; run: pip install "aepo-rl[parquet]"') from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            present = file.schema_arrow.names
            names = [name for name in present if name in columns] or present
            for batch in file.iter_batches(batch_size=1000, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a whole Parquet file: {str(error).splitlines()[0]}") from None
