"""Lets every thread and event loop of the process call one server. The connection runs in a thread of its own.

A session can be used by one task of one event loop only. It does not use the loop that samples: the model's calls block
that loop, and the server's messages would wait.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal

from aepo.tools.mcp.arguments import Checks
from aepo.tools.mcp.connection import Connection
from aepo.tools.mcp.offer import McpServerError, Offer, Offered

_CLOSE_SECONDS = 10.0


class Server:
    """One server, which all its tools share. The session ends with the process, or when the last tool is gone.

    Attributes:
        name: The server's name, in messages.
        connection: The connection, which only its own thread may use.
        close: A function that ends the server's session, and its process if this process started it.
    """

    def __init__(self, connection: Connection) -> None:
        """Start the thread; the first use starts the server."""
        self.name, self.connection, self._checks = connection.name, connection, Checks(connection.name)
        self._process = os.getpid()
        begun: Future[tuple[BlockingPortal, Callable[[], object]]] = Future()
        thread = threading.Thread(
            target=anyio.run, args=(_hold, connection, self._checks, begun), name=f"mcp {self.name}", daemon=True
        )
        thread.start()
        self._portal, stop = begun.result()
        self.close = weakref.finalize(self, _close, stop, thread)

    def offer(self) -> Offer:
        """Return the server's tools. Any thread but the connection's own may call this.

        Raises:
            McpServerError: The server does not start.
        """
        self._portal.call(self.connection.ready)
        assert self.connection.offer is not None
        return self.connection.offer

    def usable(self, tool: Offered) -> None:
        """See `Checks.usable`. Any thread but the connection's own may call this."""
        self._portal.call(self._checks.usable, tool.name, tool.schema)

    async def call(self, tool: Offered, arguments: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """Check the arguments, then call: see `Checks.check` and `Connection.call`. Any asyncio loop may call this."""
        if os.getpid() != self._process:
            raise McpServerError(
                f"MCP server {self.name} was started before this process was forked: "
                f"make the tools in the process that calls them"
            )
        return await asyncio.wrap_future(self._portal.start_task_soon(self._call, tool, arguments, timeout))

    async def _call(self, tool: Offered, arguments: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        await self._checks.check(tool.name, tool.schema, arguments)
        return await self.connection.call(tool.name, arguments, timeout, tool.repeatable)


async def _hold(
    connection: Connection, checks: Checks, begun: Future[tuple[BlockingPortal, Callable[[], object]]]
) -> None:
    asked, loop = anyio.Event(), asyncio.get_running_loop()
    try:
        async with BlockingPortal() as portal:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.keep)
                begun.set_result((portal, lambda: loop.call_soon_threadsafe(asked.set)))
                await asked.wait()
                connection.close()
                tasks.cancel_scope.deadline = anyio.current_time() + _CLOSE_SECONDS
            await portal.stop(cancel_remaining=True)
    finally:
        await checks.close()


def _close(stop: Callable[[], object], thread: threading.Thread) -> None:
    with suppress(RuntimeError):  # the loop is closed already
        stop()
    # The last tool may be freed in this very thread, which cannot wait for itself.
    if thread is not threading.current_thread():
        thread.join(2 * _CLOSE_SECONDS)
