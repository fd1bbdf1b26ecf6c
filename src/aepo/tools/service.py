"""`HttpService`: how a tool talks to a service over HTTP.

A call waits for a free place and for its turn, and is tried again if that can help. It always ends within its deadline:
with the service's reply, with a `ToolError` for the model, or with `ToolMisconfigured`, which stops the run. Equal
requests in flight are sent once. Logs and messages have only the status of replies, never the text. The key is only in
the request.
"""

from __future__ import annotations

import json
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel

from aepo.tools.address import NO_REDIRECTS
from aepo.tools.base import ToolMisconfigured
from aepo.tools.counts import count
from aepo.tools.key import ApiKey
from aepo.tools.pace import Pace
from aepo.tools.retry import TryFailed, retried, retry_after
from aepo.types import ToolError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_log = logging.getLogger(__name__)

_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_BAD_QUERY = frozenset({400, 413, 414, 422})
_REFUSALS: Mapping[tuple[int, bytes], str] = {
    **dict.fromkeys([(401, b""), (403, b"")], "refuses the key"),
    (402, b""): "wants to be paid",
    **dict.fromkeys([(301, b""), (302, b""), (307, b""), (308, b"")], "has moved"),
    **dict.fromkeys([(404, b""), (405, b"")], "has nothing at this address"),
}


class BadServiceReply(ValueError):
    """A reply does not have the documented form."""


@dataclass(frozen=True)
class Request:
    """A request. It has no key; the service adds it while sending.

    Attributes:
        method: GET, or POST with a body.
        url: The address without query.
        params: The query.
        body: JSON text.
        repeatable: Whether it may be sent again if it is not known whether it arrived.
    """

    method: Literal["GET", "POST"]
    url: str
    params: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    repeatable: bool = True

    @classmethod
    def get(cls, url: str, params: Mapping[str, str]) -> Request:
        """A GET request."""
        return cls("GET", url, tuple(params.items()))

    @classmethod
    def post(cls, url: str, data: Mapping[str, Any]) -> Request:
        """A POST request with a JSON object."""
        return cls("POST", url, body=json.dumps(data))


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of the requests to a service.

    Attributes:
        rate: Requests per second in this process; None is no limit.
        concurrency: Calls at once; further calls wait in order.
        attempts: Tries of one call.
        attempt_seconds: Seconds for one try.
        deadline: Seconds for one call with all its tries, from its first turn on.
        reply_bytes: A longer reply is not read.

    Raises:
        ValueError: A limit is not positive.
    """

    rate: float | None = None
    concurrency: int = 16
    attempts: int = 5
    attempt_seconds: float = 10.0
    deadline: float = 30.0
    reply_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"service limits: {name} is {value}, must be positive")


class _Refusal(TryFailed):
    """The service would answer nobody who asks like this."""


@dataclass
class _Flight:
    """A request in flight. If it is cancelled it has no outcome, and one of the waiting calls sends it again."""

    ended: anyio.Event = field(default_factory=anyio.Event)
    outcome: Callable[[], Any] | None = None


@dataclass
class _Loop:
    """The state for one event loop."""

    client: httpx.AsyncClient
    places: anyio.CapacityLimiter
    flights: dict[Request, _Flight] = field(default_factory=dict)


class HttpService:
    """A service that is asked over HTTP and answers in JSON."""

    def __init__(
        self,
        name: str,
        what: str,
        key: ApiKey | None = None,
        limits: ServiceLimits | None = None,
        refusals: Mapping[tuple[int, bytes], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        """Set it up; nothing is sent.

        Args:
            name: The name of the service, for people.
            what: What it does, for the model: "search".
            key: Signs each request.
            limits: By default those of `ServiceLimits`.
            refusals: Status codes, with bytes that must occur in the body, after which no request can succeed until a
                person changes something, and what to tell that person; beside those that every service shares.
            clock: Seconds that never go back.
            sleep: Waits between tries.
        """
        self.name, self.what, self.key = name, what, key
        self.limits = limits or ServiceLimits()
        self._refusals = {**_REFUSALS, **(refusals or {})}
        self._clock, self._sleep = clock, sleep
        self._pace = Pace(self.limits.rate)
        self._accepted = self._down = False
        self._loops: anyio.lowlevel.RunVar[_Loop] = anyio.lowlevel.RunVar("service")

    def __repr__(self) -> str:
        """Name and limits."""
        return f"HttpService({self.name!r}, {self.limits})"

    async def fetch(self, request: Request, read: Callable[[Any], T]) -> T:
        """What the service answers; an equal request that is in flight is waited for instead of sent again.

        Args:
            request: What is asked.
            read: Makes something of the decoded JSON; raises `BadServiceReply` if it cannot. One function a service.

        Raises:
            ToolError: The service does not answer, or not this; the cause is logged when it begins.
            ToolMisconfigured: It will answer nothing until a person changes key, plan or address.
        """
        flights = self._loop().flights
        while (flight := flights.get(request)) is not None:
            await flight.ended.wait()
            if flight.outcome is not None:
                return cast(T, flight.outcome())
        flight = flights[request] = _Flight()
        try:
            result = await self._call(request, read)
            flight.outcome = lambda: result
            return result
        except (ToolError, ToolMisconfigured) as error:
            flight.outcome = _raiser(type(error), str(error))
            raise
        finally:
            del flights[request]
            flight.ended.set()

    async def aclose(self) -> None:
        """Close the connections that this event loop has open; the next request opens new ones."""
        await self._loop().client.aclose()
        self._loops.set(self._new_loop())

    def _loop(self) -> _Loop:
        # Connections belong to the event loop that made them, and one service may serve several loops in a process.
        try:
            return self._loops.get()
        except LookupError:
            self._loops.set(loop := self._new_loop())
            return loop

    def _new_loop(self) -> _Loop:
        import httpx

        client = httpx.AsyncClient(
            headers={"User-Agent": "aepo-rl", "Accept": "application/json", "Accept-Encoding": "gzip"},
            timeout=self.limits.attempt_seconds,
            limits=httpx.Limits(max_connections=self.limits.concurrency),
            auth=cast(Any, self.key.sign) if self.key else None,
            follow_redirects=False,
            event_hooks=NO_REDIRECTS,
        )
        return _Loop(client, anyio.CapacityLimiter(self.limits.concurrency))

    async def _call(self, request: Request, read: Callable[[Any], T]) -> T:
        loop = self._loop()
        try:
            async with loop.places:
                return await self._tried(loop.client, request, read)
        except _Refusal as refusal:
            check = f"; check {self.key.variable}" if self.key else ""
            raise ToolMisconfigured(f"{self.name} ({_address(request.url)}) {refusal}{check}") from None
        except TryFailed as failure:
            if not self._down:
                self._down = True
                _log.warning("%s (%s) is unavailable: %s", self.name, _address(request.url), failure)
            raise ToolError(f"{self.what} is unavailable now; go on without it") from None

    async def _tried(self, client: httpx.AsyncClient, request: Request, read: Callable[[Any], T]) -> T:
        """The answer, or the failure of the last try."""
        if (held := self._pace.held(self._clock())) > self.limits.deadline:
            raise TryFailed(f"asks to be left alone for another {held:.0f} s", again=False)
        # After a call has failed in all its tries, and until one succeeds, the others are not made to wait as long.
        attempts = 1 if self._down else self.limits.attempts
        ends = float("inf")

        async def once() -> T:
            nonlocal ends
            await self._sleep(self._pace.wait(self._clock()))
            ends = min(ends, self._clock() + self.limits.deadline)
            seconds = min(self.limits.attempt_seconds, ends - self._clock())
            try:
                return read(_decoded(await self._sent(client, request, max(0.0, seconds))))
            except BadServiceReply as error:
                raise TryFailed(f"sent what its documentation does not say: {error}", again=False) from None
            except TryFailed as failure:
                if failure.after is not None:
                    self._pace.hold(self._clock() + failure.after)
                raise

        result = await retried(
            once,
            attempts,
            self._sleep,
            lambda wait: self._clock() + wait < ends,
            lambda failure, attempt: count("retries"),
        )
        if self._down:
            _log.warning("%s is available again", self.name)
        self._accepted, self._down = True, False
        return result

    async def _sent(self, client: httpx.AsyncClient, request: Request, seconds: float) -> bytes:
        """The body of a successful reply.

        Raises:
            TryFailed: There is none.
            ToolError: The service does not take this query.
        """
        import httpx

        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        try:
            with anyio.fail_after(seconds):
                async with client.stream(
                    request.method, request.url, params=request.params, content=request.body, headers=headers
                ) as reply:
                    status, after = reply.status_code, reply.headers.get("retry-after")
                    body = await _body(reply, self.limits.reply_bytes)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TryFailed(f"no connection ({self._shown(error)})", again=True) from None
        except httpx.TransportError as error:
            raise TryFailed(f"the connection broke ({self._shown(error)})", request.repeatable) from None
        except TimeoutError:
            raise TryFailed(f"no whole answer within {seconds:.3g} s", request.repeatable) from None
        if self.key is not None:
            body = self.key.hide(body)
        if 200 <= status < 300:
            return body
        for (code, mark), why in self._refusals.items():
            if status == code and mark in body:
                # If the key was accepted before, the refusal is probably a fault of the service.
                raise _Refusal(f"{why} (HTTP {status})", again=self._accepted)
        if status in _TRANSIENT:
            raise TryFailed(f"HTTP {status}", True, retry_after(after, datetime.now(UTC)))
        if status in _BAD_QUERY:
            _log.info("%s does not take a query: HTTP %d", self.name, status)
            raise ToolError(f"{self.what} does not take this query; try other words")
        raise TryFailed(f"HTTP {status}", again=False)

    def _shown(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}"
        return self.key.hide(text.encode("utf-8", "replace")).decode() if self.key else text


async def _body(reply: httpx.Response, limit: int) -> bytes:
    """The body, of at most `limit` bytes both packed and unpacked."""
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise TryFailed(f"an encoding that was not asked for: {encoding[:20]}", again=False)
    unpacker = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
    body, received = bytearray(), 0
    # The library's own decoding could turn one packet into gigabytes.
    async for chunk in reply.aiter_raw():
        received += len(chunk)
        try:
            body += chunk if unpacker is None else unpacker.decompress(chunk, limit + 1 - len(body))
        except zlib.error:
            raise TryFailed("a broken gzip stream", again=True) from None
        if max(received, len(body)) > limit:
            raise TryFailed(f"a reply of more than {limit} bytes", again=False)
    return bytes(body)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise TryFailed("a reply that is not JSON", again=True) from None


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _raiser(kind: type[Exception], text: str) -> Callable[[], Any]:
    """A function that raises a new exception in each task, because a shared one would collect all tracebacks."""

    def raises() -> Any:
        raise kind(text)

    return raises
