"""Runs one session with a server, from the greeting to the server's end.

The SDK's own session checks each result with its models, and refuses a whole list because of one bad entry. This one
uses the SDK's dispatcher directly and returns each result unchanged.
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
"""The longest reply of a server; a longer one is dropped while it is read."""

TOO_LONG = f"the reply was longer than {MOST_BYTES >> 20} MiB; ask for less"

_CLIENT = {"name": "aepo-rl", "version": "1"}
_WORDS = 4096


class Life:
    """One session with a server. One event loop uses it.

    Attributes:
        over: An event that is set when the session has ended.
        ready: True once tools can be called.
        forgotten: True if the server did not know the session any more (HTTP 404): the last request was not done.
        answered: True once a call was answered.
        last_words: The end of the server's stderr, or its last HTTP error status.
    """

    def __init__(self, timeout: float) -> None:
        """Set the time limit; `greeted` begins the session.

        Args:
            timeout: Seconds for the greeting, and for requests without a limit of their own.
        """
        self.over = anyio.Event()
        self.ready = self.forgotten = self.answered = False
        self.last_words = b""
        self._timeout = timeout
        self._headers: dict[str, str] = {}

    def say(self, words: bytes) -> None:
        """Add to `last_words`, of which only the end is kept."""
        self.last_words = (self.last_words + words)[-_WORDS:]

    @asynccontextmanager
    async def greeted(
        self, streams: TransportStreams, tools_changed: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Greet the server; leaving the context ends the requests that still run.

        Args:
            streams: The two streams of a transport.
            tools_changed: The function to call when the server says that its tools have changed.

        Raises:
            MCPError: The server refuses, or does not answer in time.
            ValueError: The server speaks a version of the protocol that is not known here.
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
        """Send a request and return its result, an object of any shape.

        Raises:
            MCPError: The server answers with an error, does not answer in time, or is gone.
        """
        seconds = self._timeout if timeout is None else timeout
        return await self._dispatcher.send_raw_request(method, params, {"timeout": seconds, "headers": self._headers})


async def _asked(
    context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
) -> dict[str, Any]:
    if method == "ping":
        return {}
    raise MCPError(METHOD_NOT_FOUND, f"{method} is not offered here")
