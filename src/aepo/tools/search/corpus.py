"""A corpus: documents in a JSON-lines or Parquet file, read one after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Document:
    """One entry of a corpus.

    Attributes:
        title: Searched, counts double; not shown.
        text: Searched and shown: it must speak for itself.
    """

    title: str
    text: str


def read_documents(path: str | PathLike[str]) -> Iterator[Document]:
    """Documents of a JSON-lines file, whose blank lines are skipped, or of a Parquet file (`.parquet`).

    Each has the texts "title", which may be missing, and "text"; or "contents" as Search-R1's corpora have it: the
    title, a line break, the text.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: An entry is not a document, the file is damaged, or Parquet needs the extra `parquet`.
    """
    return _parquet(Path(path)) if Path(path).suffix == ".parquet" else _json_lines(Path(path))


def split_contents(contents: str) -> tuple[str, str]:
    """Title and text of Search-R1's "contents", whose first line is the title in quotation marks."""
    title, _, text = contents.partition("\n")
    return title.strip().removeprefix('"').removesuffix('"'), text


def valid(text: str) -> str:
    """The text as UTF-8 can carry it: a model's JSON may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Fingerprint:
    """The SHA-256 of documents, the same from whatever file they come."""

    def __init__(self) -> None:
        """Of no documents yet."""
        self._hash = hashlib.sha256()

    def follow(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Pass them on, and take each in."""
        for document in documents:
            for part in (document.title, document.text):
                data = part.encode("utf-8", "replace")
                self._hash.update(len(data).to_bytes(8, "big") + data)
            yield document

    def digest(self) -> str:
        """Of all that passed so far."""
        return self._hash.hexdigest()


def _json_lines(path: Path) -> Iterator[Document]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _document(json.loads(line))
            except (ValueError, RecursionError):
                raise ValueError(f'{path}, line {number}: not an object with the texts "title" and "text"') from None


def _parquet(path: Path) -> Iterator[Document]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(f'{path}: Parquet needs pyarrow; run: pip install "aepo-rl[parquet]"') from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = [name for name in ("title", "text", "contents") if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=1000, columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield _document(row)
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not a whole Parquet file: {str(error).splitlines()[0]}") from None
    except _NoDocument:
        raise ValueError(f'{path}, row {number}: no texts in the columns "title" and "text"') from None


class _NoDocument(ValueError):
    pass


def _document(data: Any) -> Document:
    if isinstance(data, dict) and isinstance(contents := data.get("contents"), str) and data.get("text") is None:
        return Document(*split_contents(contents))
    if not isinstance(data, dict) or not isinstance(text := data.get("text"), str):
        raise _NoDocument
    if not isinstance(title := data.get("title") or "", str):
        raise _NoDocument
    return Document(title, text)
