"""The body of an answer: decoded as it comes, never more than a limit, and what kind of document it is."""

from __future__ import annotations

import zlib
from enum import StrEnum

from aepo.types import ToolError

ENCODINGS = "gzip, deflate"
"""What is asked for; both are decoded piece by piece with a bound on what comes out."""

_GZIP_OR_ZLIB, _RAW = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS


class Kind(StrEnum):
    """What a document is."""

    HTML = "html"
    TEXT = "text"
    """Plain text, JSON, XML and the like: shown as it is."""
    PDF = "pdf"


class Body:
    """Takes chunks as they come over the wire."""

    def __init__(self, encoding: str, limit: int) -> None:
        """Take the Content-Encoding and the most bytes, both on the wire and decoded.

        Raises:
            ToolError: The encoding is none that was asked for.
        """
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ToolError(f"sent in the encoding {encoding[:40]!r}, which was not asked for")
        self._decoder = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding not in ("", "identity") else None
        self._deflate = encoding == "deflate"
        self._wire = 0
        self._limit = limit
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> None:
        """Decode a chunk.

        Raises:
            ToolError: There is more than the limit, or it cannot be decoded.
        """
        self._wire += len(chunk)
        if self._decoder is None:
            self._bytes += chunk
        elif not self._decoder.eof:
            self._bytes += self._decoded(chunk)
        if max(self._wire, len(self._bytes)) > self._limit:
            raise ToolError(f"too large: more than {self._limit / 2**20:.3g} MiB")

    def finish(self) -> bytes:
        """All bytes.

        Raises:
            ToolError: The compressed stream has no end.
        """
        if self._decoder is not None and self._wire and not self._decoder.eof:
            raise ToolError("the answer broke off")
        return bytes(self._bytes)

    def _decoded(self, chunk: bytes) -> bytes:
        assert self._decoder is not None
        # One byte over the limit is enough to see that it is passed.
        room = self._limit - len(self._bytes) + 1
        try:
            return self._decoder.decompress(chunk, room)
        except zlib.error:
            if not self._deflate or self._bytes or self._wire > len(chunk):
                raise ToolError("the answer cannot be decompressed") from None
        # Some servers send deflate without zlib's header.
        self._decoder, self._deflate = zlib.decompressobj(_RAW), False
        return self._decoded(chunk)


def kind_of(content_type: str, start: bytes) -> Kind | None:
    """What a document is by its Content-Type, or by its first bytes where that says nothing; None: nothing readable."""
    name = content_type.partition(";")[0].strip().lower()
    if name in ("text/html", "application/xhtml+xml"):
        return Kind.HTML
    if name in ("application/pdf", "application/x-pdf"):
        return Kind.PDF
    if name.startswith("text/") or name.endswith(("/json", "/xml", "+json", "+xml", "/x-ndjson", "/yaml")):
        return Kind.TEXT
    if name not in ("", "application/octet-stream", "binary/octet-stream"):
        return None
    if start.startswith(b"%PDF-"):
        return Kind.PDF
    if start.lstrip()[:1] == b"<":
        return Kind.HTML
    return None


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names, or nothing."""
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower()[:40]
    return ""
