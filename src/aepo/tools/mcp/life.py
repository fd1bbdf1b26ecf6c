"""One life of a server: it is greeted, then asked, and its results come as they are, until its death.

The SDK's own session has its models check each result, and refuses all of a list for one entry of it; hence this one
on top of the SDK's dispatcher.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.client._transport import TransportStreams
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import METHOD_NOT_FOUND
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

MOST_BYTES = 8 << 20
"""A longer reply of a server is thrown away while it is read."""

TOO_LONG = f"the reply was longer than {MOST_BYTES >> 20} MiB; ask for less"

_CLIENT = {"name": "aepo-rl", "version": "1"}
_WORDS = 4096


class Life:
    """One session with a server. Belongs to one event loop.

    Attributes:
        over: Set once nothing can be asked any more.
        ready: Whether tools can be called.
        forgotten: It ended because the server knew nothing of it (HTTP 404): what was asked last was not done.
        answered: Whether a call was answered in it.
        last_words: The end of what it wrote to stderr, or the last status of HTTP that was no success.
    """

    def __init__(self, timeout: float) -> None:
        """Ask nothing yet.

        Args:
            timeout: Seconds for the greeting, and for requests without a limit of their own.
        """
        self.over = anyio.Event()
        self.ready = self.forgotten = self.answered = False
        self.last_words = b""
        self._timeout = timeout
        self._headers: dict[str, str] = {}

    def say(self, words: bytes) -> None:
        """Keep the end of it."""
        self.last_words = (self.last_words + words)[-_WORDS:]

    @asynccontextmanager
    async def greeted(
        self, streams: TransportStreams, tools_changed: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Greet the server; leaving ends what goes on in the session.

        Args:
            streams: Of a transport.
            tools_changed: Called when the server says so.

        Raises:
            MCPError: The server refuses, or does not answer in time.
            ValueError: It speaks a version of the protocol that is not known here.
        """

        async def told(
            context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
        ) -> None:
            if method == "notifications/tools/list_changed":
                await tools_changed()

        self._dispatcher = JSONRPCDispatcher(*streams)
        hello = {"protocolVersion": LATEST_HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
        options = {"timeout": self._timeout, "cancel_on_abandon": False}
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._dispatcher.run, _asked, told)
            version = (await self._dispatcher.send_raw_request("initialize", hello, options)).get("protocolVersion")
            version = version if isinstance(version, str) else LATEST_HANDSHAKE_VERSION
            if version not in HANDSHAKE_PROTOCOL_VERSIONS:
                raise ValueError(f"it speaks version {version!r:.40} of the protocol, which is not known here")
            self._headers = {"mcp-protocol-version": version}
            await self._dispatcher.notify("notifications/initialized", None, {"headers": self._headers})
            yield
            tasks.cancel_scope.cancel()

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Mapping[str, Any]:
        """The result, an object of any shape.

        Raises:
            MCPError: The server answers with an error, not in time, or is gone.
        """
        seconds = self._timeout if timeout is None else timeout
        return await self._dispatcher.send_raw_request(method, params, {"timeout": seconds, "headers": self._headers})


async def _asked(
    context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
) -> dict[str, Any]:
    if method == "ping":
        return {}
    raise MCPError(METHOD_NOT_FOUND, f"{method} is not offered here")
