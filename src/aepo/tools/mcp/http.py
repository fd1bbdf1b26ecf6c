"""A server behind a URL: the SDK's streamable HTTP, with replies of bounded size and no secrets but the named ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from aepo.tools.mcp.life import MOST_BYTES, TOO_LONG, Life
from aepo.tools.mcp.lines import Lines
from aepo.tools.mcp.messages import messages

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import TransportStreams

Way: TypeAlias = Callable[[AsyncIterable[bytes]], AsyncIterator[bytes]]

_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 300.0
_CONNECTIONS = 1024


@asynccontextmanager
async def http(url: str, headers: Mapping[str, str], life: Life) -> AsyncIterator[TransportStreams]:
    """Talk to the server at `url`; leaving ends the session there.

    Proxies and passwords that the environment or `~/.netrc` name are not used.

    Args:
        url: Of the endpoint.
        headers: Sent with each request.
        life: Told when the server forgot the session, and of statuses that are no success.
    """
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(
            # A compressed reply says nothing about its size.
            headers={**headers, "Accept-Encoding": "identity"},
            transport=_bounded(httpx2.Limits(max_connections=_CONNECTIONS), life),
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=_SILENT_SECONDS),
            trust_env=False,
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MOST_BYTES) as streams,
    ):
        yield streams


def _bounded(limits: httpx2.Limits, life: Life) -> httpx2.AsyncBaseTransport:
    import httpx2

    class Bounded(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            # No redirect is followed, but the client would read where it leads, and may fail there.
            response.headers.pop("location", None)
            if request.method == "POST" and response.status_code >= 400:
                life.last_words = f"HTTP status {response.status_code}".encode()
                if response.status_code == 404 and "mcp-session-id" in request.headers:
                    life.forgotten = True
                    life.over.set()
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.aclose()
                raise httpx2.RemoteProtocolError("the server compresses its replies although it is asked not to")
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            events = response.headers.get("content-type", "").startswith("text/event-stream")
            # A length that was sent is not that of what is read here.
            response.headers.pop("content-length", None)
            response.stream = Read(response.stream, _events if events else _body)
            return response

    class Read(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream, way: Way) -> None:
            self._stream, self._way = stream, way

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._way(self._stream)

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded(limits=limits, trust_env=False)


async def _body(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    import httpx2

    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MOST_BYTES:
            raise httpx2.StreamError(TOO_LONG)
    yield _readable(bytes(body))


async def _events(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    import httpx2

    lines, size = Lines(MOST_BYTES), 0
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
    """One message as the SDK's models want it, the reply if there are several; else the text as it is."""
    found = [one.message for one in messages(text)[0]]
    if not found:
        return text
    message = next((one for one in found if not hasattr(one, "method")), found[0])
    return json.dumps(message.model_dump(by_alias=True, exclude_unset=True)).encode()
