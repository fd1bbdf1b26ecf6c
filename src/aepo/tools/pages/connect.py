"""Opens connections to checked addresses only, for httpcore and for the proxy."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore

from aepo.tools.pages.guard import Guard
from aepo.tools.pages.heads import Mending

CONNECT_SECONDS = 5.0
"""Seconds that one address may take to accept a connection; then the next one is tried."""

Dial = Callable[[str, int, float], Awaitable[httpcore.AsyncNetworkStream]]
"""A function that opens a connection to an address (not a name) and a port within some seconds."""


async def dial(address: str, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
    """Open a TCP connection.

    Raises:
        httpcore.ConnectError: It was refused, or there is no route.
        httpcore.ConnectTimeout: There was no answer in time.
    """
    return await httpcore.AnyIOBackend().connect_tcp(address, port, timeout=seconds)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Looks a host name up once, lets the guard check every address, and connects to one of them."""

    def __init__(self, guard: Guard, dial: Dial = dial) -> None:
        """Set the guard, and the function that opens connections."""
        self._guard = guard
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect for httpcore, for one request; heads of answers are mended."""
        return Mending(await self.connect(host, port, timeout or CONNECT_SECONDS))

    async def connect(self, host: str, port: int, seconds: float = CONNECT_SECONDS) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            Refused: The port or an address may not be visited.
            ToolError: There is no such host.
            httpcore.ConnectError: The last address does not accept the connection.
            httpcore.ConnectTimeout: The last address does not answer.
        """
        addresses = await self._guard.addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await self._dial(address, port, seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._dial(addresses[-1], port, seconds)


def trust() -> ssl.SSLContext:
    """Make a TLS context that trusts Mozilla's list of authorities and those of this system."""
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
