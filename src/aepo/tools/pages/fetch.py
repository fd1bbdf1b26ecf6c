"""Fetching a document: by a guarded connection, through judged redirects, within limits of size and time."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import httpcore
import httpx

from aepo.tools.base import ToolTimeout
from aepo.tools.pages.body import ENCODINGS, Body, Kind, charset_of, kind_of
from aepo.tools.pages.connect import CONNECT_SECONDS, GuardedBackend, GuardedTransport
from aepo.tools.pages.guard import Guard, Refused, shorten
from aepo.types import ToolError

MOST_REDIRECTS = 8
_REDIRECTS = (301, 302, 303, 307, 308)
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; aepo-rl)",
    "Accept": "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,application/json;q=0.9,*/*;q=0.1",
    "Accept-Encoding": ENCODINGS,
}


@dataclass(frozen=True)
class Document:
    """What came back.

    Attributes:
        url: Where it was in the end, behind all redirects.
        kind: What it is.
        charset: What its Content-Type says, or nothing.
        content: Its bytes, decompressed.
    """

    url: str
    kind: Kind
    charset: str
    content: bytes


@dataclass(frozen=True)
class Fetcher:
    """Fetches documents; each call has connections of its own and leaves none.

    Attributes:
        guard: Judges every address.
        backend: Connects; it asks the same guard.
        trust: Whose certificates count.
        seconds: For a document, redirects and lookups included.
        max_bytes: Of a document, on the wire and decompressed.
    """

    guard: Guard
    backend: GuardedBackend
    trust: ssl.SSLContext
    seconds: float = 15.0
    max_bytes: int = 5 << 20

    async def fetch(self, address: str) -> Document:
        """Fetch a document.

        Raises:
            Refused: It, or what it redirects to, may not be visited.
            ToolTimeout: It did not come within the time.
            ToolError: It cannot be had, is too large, or of a kind that cannot be read.
        """
        with named(address):
            url = self.guard.url(address)
        with anyio.move_on_after(self.seconds):
            async with aclosing(GuardedTransport(self.backend, self.trust)) as transport:
                return await self._follow(transport, url)
        raise ToolTimeout(f"{shorten(str(url))}: no complete answer within {self.seconds:g} s")

    async def _follow(self, transport: GuardedTransport, url: httpx.URL) -> Document:
        for _ in range(MOST_REDIRECTS + 1):
            with named(str(url)):
                async with self._answer(transport, url) as answer:
                    if answer.status_code not in _REDIRECTS or "location" not in answer.headers:
                        return await self._document(url, answer)
                    location = answer.headers["location"]
                    url = self._redirected(url, location)
        raise ToolError(f"{shorten(str(url))}: more than {MOST_REDIRECTS} redirects")

    def _redirected(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            return self.guard.url(str(url.join(location)))
        except (httpx.InvalidURL, ValueError):
            raise Refused("it redirects to something that is not an address") from None
        except Refused as refused:
            raise Refused(f"it redirects to {shorten(location)}: {refused}") from None

    @asynccontextmanager
    async def _answer(self, transport: GuardedTransport, url: httpx.URL) -> AsyncIterator[httpx.Response]:
        timeout = {"connect": CONNECT_SECONDS, "read": self.seconds, "write": self.seconds, "pool": self.seconds}
        request = httpx.Request("GET", url, headers=_HEADERS, extensions={"timeout": timeout})
        answer = await transport.handle_async_request(request)
        try:
            yield answer
        finally:
            await answer.aclose()

    async def _document(self, url: httpx.URL, answer: httpx.Response) -> Document:
        if not answer.is_success:
            raise ToolError(f"HTTP {answer.status_code}")
        content_type = answer.headers.get("content-type", "")
        body = Body(answer.headers.get("content-encoding", ""), self.max_bytes)
        # Nothing is read of what could not be shown.
        if kind_of(content_type, b"<") is None:
            raise ToolError(f"of type {shorten(content_type, 60)}, which cannot be read")
        if answer.headers.get("content-length", "").isdecimal():
            announced = int(answer.headers["content-length"][:20])
            if announced > self.max_bytes:
                raise ToolError(f"too large: {announced / 2**20:.3g} MiB")
        async for chunk in answer.aiter_raw():
            body.add(chunk)
        content = body.finish()
        kind = kind_of(content_type, content[:1024])
        if kind is None:
            raise ToolError("of no type that can be read")
        return Document(str(url), kind, charset_of(content_type), content)


@contextmanager
def named(address: str) -> Iterator[None]:
    """Say of what goes wrong inside which address it was, in words for a model."""
    shown = shorten(address)
    try:
        yield
    except Refused as error:
        raise Refused(f"{shown} refused: {error}") from None
    except ToolTimeout:
        raise
    except ToolError as error:
        raise ToolError(f"{shown}: {error}") from None
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise ToolError(f"{shown}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return f"its certificate is not valid: {shorten(cause.verify_message)}"
    if isinstance(error, httpcore.ConnectTimeout):
        return "the server does not answer"
    if isinstance(error, httpcore.ConnectError):
        return "no connection to the server"
    if isinstance(error, httpcore.ProtocolError):
        return "the answer broke off or is not HTTP"
    return "the connection broke"
