"""Keeps a session with one server: opens it when a call needs it, and opens another one when the server has died."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anyio
from mcp.client._transport import TransportStreams
from mcp.shared.exceptions import MCPError
from mcp_types import PARSE_ERROR

from aepo.tools.mcp.life import TOO_LONG, Life
from aepo.tools.mcp.messages import NO_RESULT, UNREADABLE
from aepo.tools.mcp.offer import McpServerError, Offer
from aepo.types import ToolError

_log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_MOST_PAGES = 100
_LAST_LINES = 5
# The SDK's own messages, for errors that do not come from the server.
_CLOSED, _NO_ANSWER = "Connection closed", "SSE stream ended"
_BAD_STATUS = "Server returned an error response"


class Connection:
    """Sends calls to the server. Only the event loop in which `keep` runs may use it.

    Attributes:
        offer: The server's tools, as they were when it first started.
        used: Names of the tools in use; their schemas must not change.
    """

    def __init__(
        self,
        name: str,
        transport: Callable[[Life], AbstractAsyncContextManager[TransportStreams]],
        start_timeout: float,
        restarts: int,
    ) -> None:
        """Store the settings; the first call opens a session.

        Args:
            name: The server's name, in messages.
            transport: Makes the transport of a new session.
            start_timeout: Seconds for each request before the first call.
            restarts: How many deaths in a row, without an answered call between them, are survived.
        """
        self.name, self.used = name, frozenset[str]()
        self.offer: Offer | None = None
        self._transport, self._start_timeout, self._restarts = transport, start_timeout, restarts
        self._failure: str | None = None
        self._started = False
        self._life: Life | None = None
        self._closing, self._wanted, self._changed = anyio.Event(), anyio.Event(), anyio.Event()

    async def keep(self) -> None:
        """Open and close sessions until `close` is called or too many have died.

        One task does both, because a session must be left by the task that entered it.
        """
        deaths = 0
        while self._failure is None:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            if self._closing.is_set():
                return
            life = Life(self._start_timeout)
            reason = await self._live(life)
            deaths = 1 if life.answered else deaths + 1
            if self._closing.is_set() or self._failure:
                return
            if not self._started:
                self._fail(f"did not start: {reason}")
            elif deaths > self._restarts:
                self._fail(f"died {deaths} times without answering a call: {reason}")
            else:
                _log.warning("MCP server %s is started again when it is needed: %s", self.name, reason)
                self._notify()
                if deaths > 1:
                    with anyio.move_on_after(min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (deaths - 2))):
                        await self._closing.wait()

    def close(self) -> None:
        """Let `keep` end its session and return."""
        self._closing.set()
        self._wanted.set()
        if self._life is not None:
            self._life.over.set()

    async def ready(self) -> Life:
        """Wait for a session that can be called, and return it.

        Raises:
            McpServerError: The server failed for good.
        """
        while True:
            if self._failure is not None:
                raise McpServerError(self._failure)
            if self._life is not None and self._life.ready and not self._life.over.is_set():
                return self._life
            self._wanted.set()
            await self._changed.wait()

    async def call(
        self, tool: str, arguments: Mapping[str, Any], timeout: float, repeatable: bool
    ) -> Mapping[str, Any]:
        """Call a tool and return its result unchanged.

        If the server dies during the call, the call is made once more when it is `repeatable`.

        Raises:
            ToolError: The server refuses the call, or is gone.
            McpServerError: The server failed for good.
        """
        for tries in (1, 2):
            life = await self.ready()
            try:
                # The limit here is longer, so that the tool's own timeout ends the call first and tells the server.
                asked = {"name": tool, "arguments": dict(arguments)}
                result = await life.request("tools/call", asked, 2 * timeout)
                life.answered = True
                return result
            except MCPError as error:
                if not _lost(error, life):
                    life.answered = True
                    raise ToolError(_words(error) or "the server refused the call") from None
                if tries == 2 or not (repeatable or life.forgotten):
                    break
        raise ToolError("the tool is unavailable now, its server failed; go on without it")

    async def _live(self, life: Life) -> str:
        """Run one session from its start to its end; return why it ended, as far as this is known."""
        self._life, reason = life, ""
        try:
            async with (
                self._transport(life) as streams,
                life.greeted(streams, lambda: self._list_again(life)),
            ):
                await self._list(life)
                life.ready = self._started = True
                self._notify()
                await life.over.wait()
        except Exception as error:
            reason = _reason(error)
        finally:
            self._life = None
            life.over.set()
        return "; ".join(filter(None, [reason, _last_lines(life)])) or "it closed the connection"

    async def _list(self, life: Life) -> None:
        offer, cursors = Offer(), list[str]()
        while len(cursors) < _MOST_PAGES:
            page = await life.request("tools/list", {"cursor": cursors[-1]} if cursors else None)
            if not isinstance(entries := page.get("tools"), list):
                raise ValueError("its answer to 'tools/list' holds no list of tools")
            offer.add(entries)
            cursor = page.get("nextCursor")
            # Some servers send an empty cursor after the last page, or the same cursor for ever.
            if not isinstance(cursor, str) or not cursor or cursor in cursors:
                break
            cursors.append(cursor)
        known = self.offer or offer
        changed = [n for n in self.used if n not in offer.tools or offer.tools[n].schema != known.tools[n].schema]
        if changed:
            self._fail(f"changed while it was in use: {', '.join(sorted(changed))}; start the run again")
            life.over.set()
        self.offer = known

    async def _list_again(self, life: Life) -> None:
        if life.ready:
            # If the session ends meanwhile, the next session asks for the list when it begins.
            with suppress(MCPError, ValueError):
                await self._list(life)

    def _fail(self, what: str) -> None:
        self._failure = f"MCP server {self.name} {what}"
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _lost(error: MCPError, life: Life) -> bool:
    """Tell whether a call failed because the server died, and not because the server refused it."""
    if error.message in (_CLOSED, _BAD_STATUS):
        life.over.set()
    return life.over.is_set() or error.message.startswith(_NO_ANSWER)


def _words(error: MCPError) -> str:
    if TOO_LONG in error.message:
        return TOO_LONG
    # With this code the SDK's message is about its own classes, which tells a model nothing.
    return UNREADABLE if error.code == PARSE_ERROR else error.message


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        if error.message == _CLOSED:
            return ""
        words = _words(error)
        return "it answered with something that cannot be read" if words in (UNREADABLE, NO_RESULT) else words
    if isinstance(error, ValueError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _last_lines(life: Life) -> str:
    lines = life.last_words.decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()][-_LAST_LINES:]
    return f"it last said: {' | '.join(said)}" if said else ""
