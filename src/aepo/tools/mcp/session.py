"""A session with a server: the handshake, then requests whose results come as they are.

The SDK's own session has its models check each result, and refuses all of a list for one entry of it; hence this one
on top of the SDK's dispatcher.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.dispatcher import DispatchContext
    from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
    from mcp.shared.transport_context import TransportContext

_CLIENT = {"name": "aepo-rl", "version": "1"}


class Session:
    """Asks a server that has been greeted."""

    def __init__(self, dispatcher: JSONRPCDispatcher[Any], timeout: float, version: str) -> None:
        """Speak through a dispatcher that runs.

        Args:
            dispatcher: Carries the messages.
            timeout: Seconds for a request, where the request has no other.
            version: Of the protocol.
        """
        self._dispatcher, self._timeout = dispatcher, timeout
        self._headers = {"mcp-protocol-version": version}

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Mapping[str, Any]:
        """The result, an object of any shape.

        Raises:
            MCPError: The server answers with an error, not in time, or is gone.
        """
        seconds = self._timeout if timeout is None else timeout
        return await self._dispatcher.send_raw_request(method, params, {"timeout": seconds, "headers": self._headers})

    async def notify(self, method: str) -> None:
        """Tell the server something."""
        await self._dispatcher.notify(method, None, {"headers": self._headers})


@asynccontextmanager
async def greeted(
    streams: TransportStreams, timeout: float, tools_changed: Callable[[], Awaitable[None]]
) -> AsyncIterator[Session]:
    """Greet a server; leaving ends what goes on in the session.

    Args:
        streams: Of a transport.
        timeout: Seconds for the greeting, and for requests without a limit of their own.
        tools_changed: Called when the server says so.

    Raises:
        MCPError: The server refuses, or does not answer in time.
        ValueError: It speaks a version of the protocol that is not known here.
    """
    from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION

    async def told(context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None) -> None:
        if method == "notifications/tools/list_changed":
            await tools_changed()

    dispatcher = JSONRPCDispatcher(*streams)
    hello = {"protocolVersion": LATEST_HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": _CLIENT}
    async with anyio.create_task_group() as tasks:
        await tasks.start(dispatcher.run, _asked, told)
        reply = await dispatcher.send_raw_request("initialize", hello, {"timeout": timeout, "cancel_on_abandon": False})
        version = reply.get("protocolVersion")
        version = version if isinstance(version, str) else LATEST_HANDSHAKE_VERSION
        if version not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise ValueError(f"it speaks version {version!r:.40} of the protocol, which is not known here")
        session = Session(dispatcher, timeout, version)
        await session.notify("notifications/initialized")
        yield session
        tasks.cancel_scope.cancel()


async def _asked(
    context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
) -> dict[str, Any]:
    from mcp.shared.exceptions import MCPError
    from mcp_types import METHOD_NOT_FOUND

    if method == "ping":
        return {}
    raise MCPError(METHOD_NOT_FOUND, f"{method} is not offered here")
