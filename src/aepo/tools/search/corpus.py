"""Reads the documents of a corpus from a file, one after the other. `aepo.files.rows` finds the rows of the file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from aepo.files.rows import rows


@dataclass(frozen=True)
class Document:
    """One entry of a corpus.

    Attributes:
        title: The title. It is searched and counts double, but is not shown.
        text: The text. It is searched and shown, so it must be clear without the title.
    """

    title: str
    text: str


class NotADocument(ValueError):
    """A row is no document; the message says what was expected and what was found."""


def read_documents(path: str | PathLike[str]) -> Iterator[Document]:
    """Read the documents of a file: JSON lines, one JSON array, a table with tabs (`.tsv`), or Parquet (`.parquet`).

    All but Parquet may be compressed (gzip, bzip2, xz). `document` describes the fields of a row.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A row is no document (the message names file and line), the file is damaged or not UTF-8, or Parquet
            needs the extra `parquet`.
    """
    for place, row in rows(Path(path), ("title", "text", "contents")):
        try:
            yield document(row)
        except NotADocument as error:
            raise ValueError(f"{path}, {place}: {error}") from None


def document(row: Any) -> Document:
    """Make a document of a row: it has "text" and perhaps "title", or "contents", which may begin with the title.

    Raises:
        NotADocument: The row holds no text.
    """
    wanted = 'expected an object with the text "text" or "contents"'
    if not isinstance(row, dict):
        raise NotADocument(f"{wanted}, found {_kind(row)}")
    title = row.get("title")
    if title is None or (isinstance(title, float) and math.isnan(title)):
        title = ""
    elif isinstance(title, bool | list | dict):
        raise NotADocument(f'expected a text under "title", found {_kind(title)}')
    for name in ("text", "contents"):
        if isinstance(text := row.get(name), str):
            return Document(str(title), text) if name == "text" else _with_contents(str(title), text)
    present = next((name for name in ("text", "contents") if name in row), None)
    if present is not None:
        raise NotADocument(f'{wanted}, found {_kind(row[present])} under "{present}"')
    names = ", ".join(f'"{str(name)[:30]}"' for name in list(row)[:8])
    raise NotADocument(f"{wanted}, found {f'only {names}' if names else 'an empty one'}")


def valid(text: str) -> str:
    """Replace what UTF-8 cannot carry: a model's JSON may hold a lone surrogate."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Fingerprint:
    """Computes the SHA-256 of documents; it does not depend on the kind of file that they come from."""

    def __init__(self) -> None:
        """No document has been read yet."""
        self._hash = hashlib.sha256()

    def follow(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents unchanged, and add each to the hash."""
        for document in documents:
            for part in (document.title, document.text):
                data = part.encode("utf-8", "replace")
                self._hash.update(len(data).to_bytes(8, "big") + data)
            yield document

    def digest(self) -> str:
        """Return the hash of all documents so far, in hex."""
        return self._hash.hexdigest()


def _with_contents(title: str, contents: str) -> Document:
    """Split "contents" into title and text, if its first line is a title.

    It is a title if a text follows and the line repeats `title`; without `title`, if it is in quotation marks. This is
    how Search-R1 writes contents. Other corpora begin with the text at once, and nothing of it may be lost.
    """
    first, _, text = contents.partition("\n")
    first = first.strip()
    quoted = len(first) > 1 and first[0] == first[-1] == '"'
    if text.strip() and (first.strip('"') == title.strip() if title else quoted):
        return Document(title or first[1:-1], text)
    return Document(title, contents)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
