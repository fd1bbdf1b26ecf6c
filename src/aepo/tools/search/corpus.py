"""A corpus: documents in a file, read one after the other. How the rows are found in a file is in `aepo.files.rows`."""

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
        title: Searched, counts double; not shown.
        text: Searched and shown: it must speak for itself.
    """

    title: str
    text: str


class NotADocument(ValueError):
    """Says what was expected of a row, and what it is."""


def read_documents(path: str | PathLike[str]) -> Iterator[Document]:
    """Documents of a file: JSON lines or one JSON array, a table with tabs (`.tsv`), or Parquet (`.parquet`).

    All but Parquet may be compressed (gzip, bzip2, xz). See `document` for what a row holds.

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
    """What a row says: "text", and "title" if there is one; or "contents", which may begin with the title.

    Raises:
        NotADocument: It holds no text.
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


def _with_contents(title: str, contents: str) -> Document:
    """The first line of "contents" is the title if it repeats it, or is in quotation marks, and a text follows.

    That is how Search-R1 writes it. Other corpora begin with the text at once, and nothing of it may be lost.
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
