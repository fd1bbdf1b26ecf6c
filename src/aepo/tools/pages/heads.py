"""Mends the heads of HTTP answers that browsers accept but the HTTP library would refuse."""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpcore

# A longer head is passed on unchanged; the library gives up at 100 KiB.
_LONGEST = 64 << 10
_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/[0-9.]{1,8}[ \t]+([0-9]{3})(?![0-9])", re.IGNORECASE)
# Matches interim answers (1xx, but not 101) and empty lines, which come before the real answer.
_INTERIM = re.compile(rb"\s*(HTTP/[0-9.]{1,8}[ \t]+1(?!01)[0-9]{2}(?![0-9])|$)", re.IGNORECASE)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-zA-Z-]+")


def mended(head: bytes) -> bytes:
    """Rewrite a head so that it is valid HTTP.

    Lines that are no header lines are left out. Only the transfer coding "chunked" is kept. A blank between a name
    and its colon is removed. Two lengths that differ are kept, so that the library reports them.
    """
    # A line that begins with a blank continues the line before.
    first, *lines = re.split(rb"\r?\n", re.sub(rb"\r?\n[ \t]+", b" ", head.strip(b"\r\n")))
    status = _STATUS.match(first)
    kept = [b"HTTP/1.1 " + status[1] if status else first]
    chunked = False
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.strip()
        if not colon or not _NAME.fullmatch(name):
            continue
        if name.lower() == b"transfer-encoding":
            chunked = chunked or b"chunked" in re.split(rb"[\s,]+", value.lower())
        else:
            kept.append(name + b": " + re.sub(rb"[\0\r\v\f]", b" ", value).strip())
    return b"\r\n".join([*kept, *([b"Transfer-Encoding: chunked"] * chunked), b"", b""])


class Mending(httpcore.AsyncNetworkStream):
    """Wraps a connection for one request, and mends the head of its answer."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        """Wrap an open connection."""
        self._stream = stream
        self._body = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        head, looked = bytearray(), 0
        while not self._body:
            chunk = await self._received(max_bytes, timeout)
            head += chunk
            while end := _END.search(head, max(0, looked - 3)):
                whole, rest = bytes(head[: end.end()]), head[end.end() :]
                if not _INTERIM.match(whole):
                    self._body = True
                    return mended(whole) + rest
                head, looked = rest, 0
            looked = len(head)
            if not chunk or looked > _LONGEST:
                self._body = True
                return bytes(head)
        return await self._received(max_bytes, timeout)

    async def _received(self, max_bytes: int, timeout: float | None) -> bytes:
        try:
            return await self._stream.read(max_bytes, timeout)
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            await self._stream.write(buffer, timeout)
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return Mending(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
