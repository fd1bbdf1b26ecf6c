"""Connections that go to checked addresses only: what httpcore and the proxy dial through."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore

from aepo.tools.pages.guard import Guard
from aepo.tools.pages.heads import Mending

CONNECT_SECONDS = 5.0
"""How long one address may take to accept a connection; the next one is tried then."""

Dial = Callable[[str, int, float], Awaitable[httpcore.AsyncNetworkStream]]
"""Opens a connection to an address (not a name) and port within some seconds."""


async def dial(address: str, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
    """Open a TCP connection.

    Raises:
        httpcore.ConnectError: It was refused, or there is no route.
        httpcore.ConnectTimeout: Nobody answered.
    """
    return await httpcore.AnyIOBackend().connect_tcp(address, port, timeout=seconds)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Looks a name up once, has every address judged, and connects to one of those."""

    def __init__(self, guard: Guard, dial: Dial = dial) -> None:
        """Take who judges and who connects."""
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
        """As httpcore connects: by `connect`, for one request, with heads of answers mended."""
        return Mending(await self.connect(host, port, timeout or CONNECT_SECONDS))

    async def connect(self, host: str, port: int, seconds: float = CONNECT_SECONDS) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            Refused: The port or an address may not be visited.
            ToolError: There is no such host.
            httpcore.ConnectError: No address accepts the connection.
            httpcore.ConnectTimeout: The last one does not answer.
        """
        addresses = await self._guard.addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await self._dial(address, port, seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._dial(addresses[-1], port, seconds)


def trust() -> ssl.SSLContext:
    """Whom to trust: Mozilla's list, and what this system adds to it."""
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context
