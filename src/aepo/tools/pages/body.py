"""Unpacks the body of an HTTP answer within a limit of size, and finds the kind of document that it holds."""

from __future__ import annotations

import re
import zlib
from enum import StrEnum

from aepo.types import ToolError

ENCODINGS = "gzip, deflate"
"""The value of Accept-Encoding. Both encodings can be unpacked with a limit on the unpacked size."""

LOOK_BYTES = 2048
"""Number of bytes that are enough to find the kind of a body."""

_NOT_ASKED_FOR = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")
_GZIP = b"\x1f\x8b\x08"
_PIECE = 4096
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS

_TYPE = re.compile(r"\s*([\w!#$&^.+-]+/[\w!#$&^.+-]+)\s*(;.*)?", re.DOTALL)
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s\"';,]{1,40})", re.IGNORECASE)
# These follow the WHATWG's "MIME Sniffing": bytes that no text has, and first bytes of pictures, sounds, fonts and
# archives.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_MARKS = (b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf")
_SIGNATURES = re.compile(
    rb"\x89PNG|GIF8[79]a|\xff\xd8\xff|BM.{4}\0\0\0\0|\0\0[\x01\x02]\0|RIFF....(WEBP|WAVE|AVI )|.{4}ftyp|"
    rb"\x1a\x45\xdf\xa3|OggS\0|ID3[\x00-\x1f]|fLaC|FORM....AIFF|MThd\0|wOF[F2]|\0\x01\0\0|OTTO|"
    rb"PK(\x03\x04|\x05\x06)|Rar!\x1a\x07|7z\xbc\xaf|BZh[1-9]1AY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|\x1f\x8b\x08|"
    rb"\x7fELF|MZ.{2}\0\0|\0asm|\xca\xfe\xba\xbe|\xd0\xcf\x11\xe0|SQLite format 3\0",
    re.DOTALL,
)


class ContentKind(StrEnum):
    """The kind of a document."""

    HTML = "html"
    XML = "xml"
    """XML is shown unchanged; it may declare its encoding."""
    TEXT = "text"
    """Plain text, JSON and similar texts are shown unchanged."""
    PDF = "pdf"


def unpacked(body: bytes, encoding: str, limit: int, whole: bool = True) -> bytes:
    """Unpack a body. Its first bytes count more than its header, which is often wrong.

    Unknown encodings are ignored, as browsers do. Gzip with several members is read to its end, also if the header does
    not name gzip or names it twice.

    Args:
        body: The body as it was received.
        encoding: The Content-Encoding.
        limit: The largest size in bytes.
        whole: True if the whole body is given, False if only its beginning is.

    Raises:
        ToolError: The body becomes larger than the limit, cannot be unpacked, or is packed in a way not asked for.
    """
    names = [name.strip().lower() for name in encoding.split(",")]
    if wrong := next((name for name in names if name in _NOT_ASKED_FOR), ""):
        raise ToolError(f"sent in the encoding {wrong!r}, which was not asked for")
    for number, name in enumerate([name for name in names[::-1] if name in ("gzip", "x-gzip", "deflate")] or [""]):
        if body.startswith(_GZIP):
            body = _inflated(body, _GZIP_BITS, limit, whole)
        elif name == "deflate" and body:
            # Some servers leave out zlib's header. The header is two bytes, and their number is a multiple of 31.
            bare = body[0] & 15 != 8 or int.from_bytes(body[:2], "big") % 31
            body = _inflated(body, _RAW_BITS if bare else _ZLIB_BITS, limit, whole)
        elif name and body and not number:
            raise ToolError("the answer cannot be decompressed")
    return body


def _inflated(packed: bytes, bits: int, limit: int, whole: bool) -> bytes:
    """Unpack all streams that follow one another."""
    made, at = bytearray(), 0
    while not at or packed.startswith(_GZIP, at):
        decoder = zlib.decompressobj(bits)
        while not decoder.eof and at < len(packed):
            # Small pieces are used, because at a stream's end the decoder copies the rest of the piece.
            piece = packed[at : at + _PIECE]
            try:
                # One byte over the limit is enough to see that the limit is passed.
                made += decoder.decompress(piece, limit - len(made) + 1)
            except zlib.error:
                raise ToolError("the answer cannot be decompressed") from None
            if len(made) > limit:
                raise too_large(limit)
            at += len(piece) - len(decoder.unused_data)
        if whole and not decoder.eof:
            raise ToolError("the answer broke off")
    return bytes(made)


def too_large(limit: int) -> ToolError:
    """Make the error for a body above the limit (in bytes)."""
    return ToolError(f"too large: more than {limit / 2**20:.3g} MiB")


def media_type(header: str) -> tuple[str, str]:
    """Read the type and the charset of a Content-Type; each is "" if it is not named.

    If there are several, joined by commas, the last one counts, as in the WHATWG's "Fetch". A charset that was named
    before for the same type is kept.
    """
    essence = charset = ""
    for part in header.split(","):
        found = _TYPE.fullmatch(part)
        named = _CHARSET.search(found[2] or "" if found else part)
        if found and found[1].lower() != essence:
            essence, charset = found[1].lower(), ""
        if named:
            charset = named[1].lower()
    return essence, charset


def charset_of(content_type: str) -> str:
    """The charset that a Content-Type names; "" if it names none."""
    return media_type(content_type)[1]


def kind_of(content_type: str, start: bytes) -> ContentKind | None:
    """Find a document's kind by its Content-Type, and by its first bytes if they say more; None if it is unreadable."""
    essence, charset = media_type(content_type)
    top = essence.partition("/")[0]
    is_xml = essence.endswith(("/xml", "+xml"))
    if top not in ("", "text", "application") and not is_xml:
        return None
    bare = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if bare.startswith(b"%PDF-") or (essence.endswith("pdf") and b"%PDF-" in start[:1024]):
        return ContentKind.PDF
    if _SIGNATURES.match(start):
        return None
    if essence in ("text/html", "application/xhtml+xml"):
        return ContentKind.HTML
    if is_xml:
        return ContentKind.XML
    said = (top == "text" and essence != "text/plain") or essence.endswith(("/json", "+json"))
    # Servers often say "plain text" for files of a type that they do not know.
    trusted = said or start.startswith(_MARKS) or charset.startswith("utf-16")
    if not trusted and _BINARY.search(start[:LOOK_BYTES]):
        return None
    if said or essence == "text/plain":
        return ContentKind.TEXT
    if bare.startswith(b"<?xml"):
        return ContentKind.XML
    return ContentKind.HTML if re.match(rb"<[a-zA-Z!]", bare) else ContentKind.TEXT
