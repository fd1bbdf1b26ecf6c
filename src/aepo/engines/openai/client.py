"""Sends HTTP requests to a model server, with retries where they are safe and errors of one line."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json import JSONDecodeError
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import httpx

from aepo.tools.address import NO_REDIRECTS, service_address
from aepo.tools.key import ApiKey
from aepo.tools.retry import TryFailed, retried, retry_after

_log = logging.getLogger(__name__)

ATTEMPTS = 6
LONGEST_WAIT = 120.0
"""Largest number of seconds in `Retry-After`; a server that names more counts as down."""
CONNECT_SECONDS = 10.0
_AGAIN = frozenset({429, 502, 503, 504})
_SHOWN = 300


class ServerError(RuntimeError):
    """A server does not answer, or not by its interface; the message names the server."""


class ServerRefusal(ValueError):
    """A server refuses a request, and a retry would not help.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, text: str, status: int) -> None:
        """Keep the status besides the message."""
        super().__init__(text)
        self.status = status


class BadReply(ValueError):
    """A reply lacks a requested part."""


@dataclass(frozen=True)
class ServerCall:
    """One request: a GET, or with `body` a POST of JSON."""

    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Endpoint:
    """The address of a server, with its key and time limit.

    Attributes:
        url: The address, with or without "/v1".
        key: Signs every request; None sends no key.
        timeout: Seconds for one reply.
        direct: Do not use the environment's proxies, e.g. for a server of the same cluster.
        socket: The Unix socket that the server listens on, instead of a port; the host of `url` is not read then.
        sleep: Waits between retries.

    Raises:
        ValueError: It is no address.
    """

    url: str
    key: ApiKey | None = None
    timeout: float = 600.0
    direct: bool = False
    socket: Path | None = None
    sleep: Callable[[float], Awaitable[None]] = field(default=anyio.sleep, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = service_address(self.url)
        except ValueError:
            parts = None
        if parts is None or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("a server's address is http://host:port/v1, without a key, a query or a fragment in it")

    @property
    def root(self) -> str:
        """The address without "/v1", for the server's own interface."""
        return self.url.rstrip("/").removesuffix("/v1").rstrip("/")


class Client:
    """Connections to one server, inside `async with`.

    A request is sent again after no reply at all, or after the status 429, 502, 503 or 504. The client waits for
    `Retry-After`, else 0.5 s, 1 s, 2 s and so on. Retries are safe because sampling changes nothing on the server.
    """

    def __init__(self, endpoint: Endpoint, concurrency: int = 128) -> None:
        """Send nothing yet.

        Args:
            endpoint: The server.
            concurrency: Requests at once; more requests wait.
        """
        self.endpoint, self.concurrency = endpoint, concurrency
        self._http: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        socket = self.endpoint.socket
        self._http = httpx.AsyncClient(
            headers={"User-Agent": "aepo-rl", "Accept": "application/json"},
            timeout=httpx.Timeout(self.endpoint.timeout, connect=CONNECT_SECONDS, pool=None),
            limits=limits,
            transport=None if socket is None else httpx.AsyncHTTPTransport(uds=str(socket), limits=limits),
            auth=self.endpoint.key.sign if self.endpoint.key else None,  # type: ignore[arg-type]
            follow_redirects=False,
            event_hooks=NO_REDIRECTS,
            trust_env=not self.endpoint.direct,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        http, self._http = self._http, None
        assert http is not None
        with anyio.CancelScope(shield=True):
            await http.aclose()

    async def ask(self, call: ServerCall) -> Any:
        """The decoded JSON of a successful reply.

        Raises:
            ServerError: There is no such reply, or it is not JSON.
            ServerRefusal: The server refuses the request.
            RuntimeError: The client is not entered.
        """
        try:
            return await retried(
                lambda: self._once(call), ATTEMPTS, self.endpoint.sleep, lambda wait: wait <= LONGEST_WAIT, self._warn
            )
        except TryFailed as failure:
            asked = failure.after is not None and failure.after > LONGEST_WAIT
            told = f"wants to be left alone for {failure.after:.0f} s" if asked else f"{ATTEMPTS} tries"
            raise ServerError(f"server {self.endpoint.url} is not available: {failure}; {told}") from None

    def _warn(self, failure: TryFailed, attempt: int) -> None:
        if attempt == 1:
            _log.warning("server %s: %s; trying again", self.endpoint.url, failure)

    async def _once(self, call: ServerCall) -> Any:
        """The decoded JSON.

        Raises:
            TryFailed: It failed for a reason that may pass.
            ServerError: It failed for a lasting reason.
            ServerRefusal: The server refuses the request.
        """
        if self._http is None:
            raise RuntimeError('the client is not connected: use it inside "async with client:"')
        url, shown = self.endpoint.root + call.path, self.endpoint.url
        try:
            if call.body is None:
                reply = await self._http.get(url)
            else:
                reply = await self._http.post(url, json=call.body)
        except httpx.ReadTimeout:
            raise ServerError(
                f"server {shown}: no reply within {self.endpoint.timeout:.0f} s; raise model.timeout"
            ) from None
        except httpx.TransportError as error:
            raise TryFailed(self._hidden(f"{type(error).__name__} {error}".strip())) from None
        except httpx.InvalidURL as error:
            raise ServerRefusal(f"server {shown}: {error}", 0) from None
        if reply.status_code in _AGAIN:
            after = retry_after(reply.headers.get("retry-after"), datetime.now(UTC))
            raise TryFailed(f"HTTP {reply.status_code}", after=after)
        if reply.is_success:
            try:
                return reply.json()
            except (JSONDecodeError, UnicodeDecodeError, RecursionError):
                raise ServerError(f"server {shown} sent something else than JSON from {call.path}") from None
        raise self._refusal(reply, call.path)

    def _refusal(self, reply: httpx.Response, path: str) -> Exception:
        status, shown = reply.status_code, self.endpoint.url
        said = self._hidden(message_of(reply))
        told = f": {said}" if said else ""
        if status >= 500:
            return ServerError(f"server {shown} failed (HTTP {status}){told}")
        if status in (401, 403):
            known = f"check {self.endpoint.key.variable}" if self.endpoint.key else "it wants a key"
            return ServerRefusal(f"server {shown} refuses the key (HTTP {status}): {known}", status)
        if status in (404, 405) and not said:
            return ServerRefusal(f"server {shown} has no {path}: is this an OpenAI-compatible server?", status)
        return ServerRefusal(f"server {shown} does not take the request (HTTP {status}){told}", status)

    def _hidden(self, text: str) -> str:
        key = self.endpoint.key
        return key.hide(text.encode("utf-8", "replace")).decode() if key else text


def message_of(reply: httpx.Response) -> str:
    """The server's error message on one line; empty if there is none."""
    try:
        data = reply.json()
    except (JSONDecodeError, UnicodeDecodeError, RecursionError):
        return ""
    for name in ("error", "message", "detail"):
        if isinstance(data, dict) and data.get(name):
            data = data[name]
    text = " ".join(data.split()) if isinstance(data, str) else ""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
