"""A forward proxy on loopback through which a browser loads one page. The guard checks every connection.

The proxy accepts plain HTTP requests and CONNECT, and connects to checked addresses. Each request has a connection of
its own, so that a page can reach only the server that was checked for this request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf

import httpcore

from aepo.tools.pages.connect import GuardedBackend
from aepo.tools.pages.guard import Guard, Refused
from aepo.types import ToolError

REFUSED, NO_CONNECTION = 403, 502
"""The statuses of the proxy's own answers."""

_HEAD_BYTES = 64 << 10
_SECONDS = 30.0
_CHUNK = 64 << 10
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(\d+)[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
# These headers are about the connection to the proxy, not about the request.
_DROPPED = (b"proxy-", b"connection", b"keep-alive", b"upgrade")


class Traffic:
    """The state of a proxy: its port, its bytes and its failed connections.

    Attributes:
        port: The proxy's port on 127.0.0.1.
        exceeded: An event that is set when the bytes in both directions together pass the limit.
        problems: The reasons why connections were not made, by host and port.
    """

    def __init__(self, port: int, limit: int) -> None:
        """No byte has passed yet; `limit` is in bytes."""
        self.port = port
        self.exceeded = asyncio.Event()
        self._left = limit
        self.problems: dict[tuple[str, int], ToolError] = {}

    def spend(self, count: int) -> bool:
        """Count bytes; return whether they may pass."""
        self._left -= count
        if self._left < 0:
            self.exceeded.set()
        return self._left >= 0


@asynccontextmanager
async def filtering_proxy(guard: Guard, backend: GuardedBackend, max_bytes: int) -> AsyncIterator[Traffic]:
    """Run a proxy; all its connections end with the context."""
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_Connection(guard, backend, traffic, reader, writer).serve())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_HEAD_BYTES)
    traffic = Traffic(server.sockets[0].getsockname()[1], max_bytes)
    try:
        yield traffic
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class _Connection:
    guard: Guard
    backend: GuardedBackend
    traffic: Traffic
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def serve(self) -> None:
        """Serve one request or one tunnel."""
        try:
            async with asyncio.timeout(_SECONDS):
                head = await self.reader.readuntil(b"\r\n\r\n")
            await self._answer(head)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass
        finally:
            self.writer.close()
            with suppress(OSError):
                await self.writer.wait_closed()

    async def _answer(self, head: bytes) -> None:
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        where = ("", 0)
        try:
            method, target = first.decode("ascii").split(" ")[:2]
            tunnel = method == "CONNECT"
            # CONNECT names only a host and a port, so a user name or a path is refused here.
            url = self.guard.url(f"https://{target}/" if tunnel else target)
            where = url.place
            if url.scheme != ("https" if tunnel else "http"):
                raise Refused("only http and tunnels pass")
            upstream = await self.backend.connect(*where)
        except (ValueError, ToolError) as error:
            self.traffic.problems[where] = error if isinstance(error, ToolError) else Refused("not an address")
            return await self._say(f"{REFUSED} Forbidden")
        except (httpcore.NetworkError, httpcore.TimeoutException):
            self.traffic.problems[where] = ToolError("no connection to the server")
            return await self._say(f"{NO_CONNECTION} Bad Gateway")
        try:
            if tunnel:
                self.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await self._relay(upstream, inf)
            else:
                kept = [line for line in lines if not line.lower().startswith(_DROPPED)]
                request = b"%s %s HTTP/1.1" % (method.encode(), url.target)
                await upstream.write(b"\r\n".join([request, *kept, b"Connection: close", b"", b""]), _SECONDS)
                await self._relay(upstream, _length(head))
        except (httpcore.NetworkError, httpcore.TimeoutException):
            pass
        finally:
            await upstream.aclose()

    async def _relay(self, upstream: httpcore.AsyncNetworkStream, length: float) -> None:
        """Pass bytes on until the server ends. Only the body of a request is sent, even if the browser sends more."""
        sending = asyncio.create_task(self._send(upstream, length))
        try:
            while chunk := await upstream.read(_CHUNK, _SECONDS):
                if not self.traffic.spend(len(chunk)):
                    return
                self.writer.write(chunk)
                await self.writer.drain()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, upstream: httpcore.AsyncNetworkStream, length: float) -> None:
        while length > 0:
            chunk = await self.reader.read(int(min(_CHUNK, length)))
            if not chunk or not self.traffic.spend(len(chunk)):
                break
            await upstream.write(chunk, _SECONDS)
            length -= len(chunk)
        if length == inf:
            # The browser has closed the tunnel, or has sent too much.
            await upstream.aclose()

    async def _say(self, status: str) -> None:
        self.writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await self.writer.drain()


def _length(head: bytes) -> int:
    """Read the length of a request's body in bytes; browsers always send it."""
    found = _LENGTH.search(head)
    return int(found[1][:18]) if found else 0
