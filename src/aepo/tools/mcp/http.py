"""Talks to a server at a URL by the SDK's streamable HTTP.

Replies have a largest size. The server gets no password or token except those in the given headers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx2
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from aepo.tools.mcp.life import MOST_BYTES, TOO_LONG, Life
from aepo.tools.mcp.lines import LineReader
from aepo.tools.mcp.messages import messages

_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 300.0
_CONNECTIONS = 1024


@asynccontextmanager
async def http(url: str, headers: Mapping[str, str], life: Life) -> AsyncIterator[TransportStreams]:
    """Open a transport to the server; leaving the context ends the session there.

    Proxies and passwords that the environment or `~/.netrc` name are not used.

    Args:
        url: The endpoint's address.
        headers: Headers that are sent with each request.
        life: The session, which is told when the server has forgotten it and when a status is an error.
    """

    async def replied(response: httpx2.Response) -> None:
        # Redirects are not followed, but the client would still parse this header and could fail on it.
        response.headers.pop("location", None)
        if response.request.method == "POST" and response.status_code >= 400:
            life.last_words = f"HTTP status {response.status_code}".encode()
            if response.status_code == 404 and "mcp-session-id" in response.request.headers:
                life.forgotten = True
                life.over.set()
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.RemoteProtocolError("the server compresses its replies although it is asked not to")
        # The stream below changes the body, so the length that the server sent no longer fits.
        response.headers.pop("content-length", None)
        events = response.headers.get("content-type", "").startswith("text/event-stream")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream, _events if events else _body)

    async with (
        httpx2.AsyncClient(
            # The size of a compressed reply is not known before it is unpacked.
            headers={**headers, "Accept-Encoding": "identity"},
            limits=httpx2.Limits(max_connections=_CONNECTIONS),
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=_SILENT_SECONDS),
            event_hooks={"response": [replied]},
            trust_env=False,
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MOST_BYTES) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, way: Callable[[AsyncIterable[bytes]], AsyncIterator[bytes]]
    ) -> None:
        self._stream, self._way = stream, way

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._way(self._stream)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _body(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MOST_BYTES:
            raise httpx2.StreamError(TOO_LONG)
    yield _readable(bytes(body))


async def _events(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    lines, size = LineReader(MOST_BYTES), 0
    async for chunk in chunks:
        size += len(chunk)
        if b"\n" in chunk:
            size = len(chunk) - chunk.rfind(b"\n")
        elif size > MOST_BYTES:
            raise httpx2.SSEError(TOO_LONG)
        for line in lines.feed(chunk):
            if line.cut:
                raise httpx2.SSEError(TOO_LONG)
            if line.text.startswith(b"data:"):
                yield b"data: " + _readable(line.text[5:]) + b"\n"
            else:
                yield line.text + b"\n"


def _readable(text: bytes) -> bytes:
    """Return one message in the form that the SDK's models read; the text unchanged if it holds no message.

    If the text holds several messages, the reply is taken.
    """
    found, _ = messages(text)
    if not found:
        return text
    return json.dumps(next((one for one in found if "method" not in one), found[0])).encode()
