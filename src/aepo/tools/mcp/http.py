"""A server behind a URL: the SDK's streamable HTTP, with replies of bounded size and no secrets but the named ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aepo.tools.mcp.life import MOST_BYTES, TOO_LONG, Life

if TYPE_CHECKING:
    import httpx2
    from mcp.client._transport import TransportStreams

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
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                assert isinstance(response.stream, httpx2.AsyncByteStream)
                response.stream = Counted(response.stream)
            return response

    class Counted(httpx2.AsyncByteStream):
        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for chunk in self._stream:
                read += len(chunk)
                if read > MOST_BYTES:
                    raise httpx2.StreamError(TOO_LONG)
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded(limits=limits, trust_env=False)
