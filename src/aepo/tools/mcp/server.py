"""A server for the whole process: its connection lives in a thread with an event loop of its own.

A session belongs to one event loop and to one task of it. Not to the loop that samples: calls of a model block that
one, and a server's messages would wait.
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
    """What the tools of one server share. Its session ends with the process, or with the last tool.

    Attributes:
        name: Of the server, in messages.
        connection: To be used in the thread only.
        close: Ends the server's session, and its process if it is ours.
    """

    def __init__(self, connection: Connection) -> None:
        """Start the thread; the server is started by the first use."""
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
        """What it has, from any thread but its own.

        Raises:
            McpServerError: It does not start.
        """
        self._portal.call(self.connection.ready)
        assert self.connection.offer is not None
        return self.connection.offer

    def usable(self, tool: Offered) -> None:
        """See `Checks.usable`; from any thread but its own."""
        self._portal.call(self._checks.usable, tool.name, tool.schema)

    async def call(self, tool: Offered, arguments: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """Check the arguments, then call: see `Checks.check` and `Connection.call`. From any event loop of asyncio."""
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
    with suppress(RuntimeError):  # its loop is closed already
        stop()
    # The last tool may be let go of in the thread itself.
    if thread is not threading.current_thread():
        thread.join(2 * _CLOSE_SECONDS)
