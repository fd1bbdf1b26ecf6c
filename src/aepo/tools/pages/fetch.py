"""Fetches a document within limits of size and time. The guard checks each connection and each redirect."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import anyio
import httpcore

from aepo.tools.base import ToolTimeout
from aepo.tools.pages.body import ENCODINGS, LOOK_BYTES, ContentKind, charset_of, kind_of, too_large, unpacked
from aepo.tools.pages.connect import CONNECT_SECONDS, GuardedBackend
from aepo.tools.pages.guard import Guard, Refused, Url, normal, shorten
from aepo.types import ToolError

MOST_REDIRECTS = 8
_REDIRECTS = (301, 302, 303, 307, 308)
_EMPTY = (204, 205, 304)
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; aepo-rl)",
    "Accept": "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,application/json;q=0.9,*/*;q=0.1",
    "Accept-Encoding": ENCODINGS,
    "Connection": "close",
}


@dataclass(frozen=True)
class FetchedDocument:
    """A document that was fetched.

    Attributes:
        url: The address after all redirects.
        kind: The kind of the document.
        charset: The charset in its Content-Type, or "".
        content: The unpacked bytes.
    """

    url: str
    kind: ContentKind
    charset: str
    content: bytes


@dataclass(frozen=True)
class Fetcher:
    """Fetches documents. Each call opens its own connections and closes them.

    Attributes:
        guard: The guard that checks every address.
        backend: The backend that connects; it asks the same guard.
        trust: The TLS context, which says whose certificates are valid.
        seconds: Time for a document, including redirects and lookups.
        max_bytes: The largest size of a document in bytes, before and after it is unpacked.
    """

    guard: Guard
    backend: GuardedBackend
    trust: ssl.SSLContext
    seconds: float = 15.0
    max_bytes: int = 5 << 20

    async def fetch(self, address: str) -> FetchedDocument:
        """Fetch a document.

        Raises:
            Refused: The address, or one that it redirects to, may not be visited.
            ToolTimeout: The document did not come within the time.
            ToolError: The document cannot be fetched, is too large, or is of a kind that cannot be read.
        """
        with named(address):
            url = self.guard.url(address)
        with anyio.move_on_after(self.seconds):
            # This pool uses no proxy of the environment and no HTTP/2, and keeps no cookies.
            async with httpcore.AsyncConnectionPool(ssl_context=self.trust, network_backend=self.backend) as pool:
                return await self._follow(pool, url)
        raise ToolTimeout(f"{shorten(str(url))}: no complete answer within {self.seconds:g} s")

    async def _follow(self, pool: httpcore.AsyncConnectionPool, url: Url) -> FetchedDocument:
        for _ in range(MOST_REDIRECTS + 1):
            with named(str(url)):
                async with self._answer(pool, url) as answer:
                    location = next(iter(_headers(answer, b"location")), "")
                    if answer.status not in _REDIRECTS or not location:
                        return await self._document(url, answer)
                    url = self._redirected(url, location)
        raise ToolError(f"{shorten(str(url))}: more than {MOST_REDIRECTS} redirects")

    def _redirected(self, url: Url, location: str) -> Url:
        try:
            return self.guard.url(location, url)
        except Refused as refused:
            raise Refused(f"it redirects to {shorten(location)}: {refused}") from None

    @asynccontextmanager
    async def _answer(self, pool: httpcore.AsyncConnectionPool, url: Url) -> AsyncIterator[httpcore.Response]:
        timeout = {"connect": CONNECT_SECONDS, "read": self.seconds, "write": self.seconds, "pool": self.seconds}
        target = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
        headers = [("Host", url.authority), *_HEADERS.items()]
        extensions = {"timeout": timeout, "sni_hostname": normal(url.host)}
        async with pool.stream("GET", target, headers=headers, extensions=extensions) as answer:
            yield answer

    async def _document(self, url: Url, answer: httpcore.Response) -> FetchedDocument:
        if answer.status in _EMPTY:
            raise ToolError(f"HTTP {answer.status}: the server answers without a page")
        if not 200 <= answer.status < 300:
            raise ToolError(f"HTTP {answer.status}")
        content_type = ", ".join(_headers(answer, b"content-type"))
        encoding = ", ".join(_headers(answer, b"content-encoding"))
        said = f"type {shorten(content_type, 60)}, which cannot be read" if content_type else "no type that can be read"
        unreadable = ToolError(f"of {said}")
        for length in _headers(answer, b"content-length"):
            if length.isdecimal() and int(length[:20]) > self.max_bytes:
                raise ToolError(f"too large: {int(length[:20]) / 2**20:.3g} MiB")
        body, looked = bytearray(), False
        # A document that cannot be shown is not read any further.
        if kind_of(content_type, b"") is None:
            raise unreadable
        async for chunk in answer.aiter_stream():
            body += chunk
            if len(body) > self.max_bytes:
                raise too_large(self.max_bytes)
            if not looked and len(body) >= LOOK_BYTES:
                looked = True
                start = unpacked(bytes(body[:LOOK_BYTES]), encoding, self.max_bytes, whole=False)
                if kind_of(content_type, start) is None:
                    raise unreadable
        content = unpacked(bytes(body), encoding, self.max_bytes)
        kind = kind_of(content_type, content)
        if kind is None:
            raise unreadable
        return FetchedDocument(str(url), kind, charset_of(content_type), content)


def _headers(answer: httpcore.Response, name: bytes) -> list[str]:
    """Return the values of all header lines with this name."""
    found = [value for key, value in answer.headers if key.lower() == name]
    try:
        return [value.decode() for value in found]
    except UnicodeDecodeError:
        return [value.decode("latin-1") for value in found]


@contextmanager
def named(address: str) -> Iterator[None]:
    """Add the address to the errors raised inside, in words for the model."""
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
