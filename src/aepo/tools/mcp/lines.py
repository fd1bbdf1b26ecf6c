"""Cuts a server's output into lines of bounded size, and reads the messages in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, jsonrpc_message_adapter

from aepo.tools.mcp.life import MOST_BYTES, TOO_LONG
from aepo.tools.mcp.messages import UNREADABLE, answered, failure, messages

_log = logging.getLogger(__name__)

_KEPT = 512


@dataclass(frozen=True)
class Line:
    """A line without its end.

    Attributes:
        text: The whole line, or only its beginning if it was cut.
        tail: The end of a line that was cut.
        cut: True if the line was too long.
    """

    text: bytes
    tail: bytes = b""
    cut: bool = False


class LineReader:
    """Cuts a stream of bytes into lines; of a line longer than `limit` bytes it keeps only the two ends."""

    def __init__(self, limit: int) -> None:
        """No byte has been read yet."""
        self._limit = limit
        self._text, self._tail, self._cut = bytearray(), b"", False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Read a chunk, and yield the lines that end in it."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._add(part)
            yield Line(bytes(self._text), self._tail, self._cut)
            self._text, self._tail, self._cut = bytearray(), b"", False
        self._add(rest)

    def _add(self, part: bytes) -> None:
        room = 0 if self._cut else self._limit - len(self._text)
        self._text += part[:room]
        if self._cut or len(part) > room:
            self._cut = True
            del self._text[_KEPT:]
            self._tail = (self._tail + part)[-_KEPT:]


class Reader:
    """Reads messages out of lines. A pretty-printed message may take several lines.

    Attributes:
        waiting: Ids of the requests that have no answer yet.
    """

    def __init__(self) -> None:
        """No line has been read yet, and no request waits."""
        self.waiting: set[int | str] = set()
        self._spread = bytearray()

    def sent(self, message: JSONRPCMessage) -> None:
        """Add the id of a request to `waiting`; remove it if the message cancels the request."""
        if isinstance(number := getattr(message, "id", None), int) and hasattr(message, "method"):
            self.waiting.add(number)
        elif getattr(message, "method", "") == "notifications/cancelled":
            self.waiting.discard((message.params or {}).get("requestId"))

    def read(self, line: Line) -> list[SessionMessage]:
        """Return the messages that end in this line; a reply that cannot be read becomes an error for its request."""
        return [SessionMessage(jsonrpc_message_adapter.validate_python(one)) for one in self._read(line)]

    def _read(self, line: Line) -> list[dict[str, Any]]:
        if line.cut:
            return self._failed(line.text, line.tail, TOO_LONG)
        found, broken = messages(line.text)
        if found:
            self._spread.clear()
            return [message for one in found if (message := self._addressed(one)) is not None]
        if self._spread:
            return self._continued(line.text)
        if broken and answered(line.text, line.text) is not None:
            return self._failed(line.text, line.text, UNREADABLE)
        if broken and line.text.lstrip(b"\xef\xbb\xbf \t").startswith(b"{"):
            self._spread += line.text + b"\n"
        elif line.text.strip():
            _log.debug("an MCP server wrote a line that is no message: %r", line.text[:200])
        return []

    def _continued(self, text: bytes) -> list[dict[str, Any]]:
        self._spread += text + b"\n"
        if not text.startswith(b"}") and len(self._spread) <= MOST_BYTES:
            return []
        whole = bytes(self._spread)
        self._spread.clear()
        if len(whole) > MOST_BYTES:
            return self._failed(whole, whole, TOO_LONG)
        return messages(whole)[0] or self._failed(whole, whole, UNREADABLE)

    def _failed(self, head: bytes, tail: bytes, words: str) -> list[dict[str, Any]]:
        number = answered(head, tail)
        if number is None:
            _log.warning("an MCP server wrote something that answers nothing and cannot be read: %r", head[:80])
            return []
        self.waiting.discard(number)
        return [failure(number, words)]

    def _addressed(self, one: dict[str, Any]) -> dict[str, Any] | None:
        """Give an error without an id the id of the only request that waits; None if several wait, or none."""
        if "method" in one:
            return one
        if one["id"] is not None:
            self.waiting.discard(coerce_request_id(one["id"]))
            return one
        return failure(self.waiting.pop(), one["error"]["message"]) if len(self.waiting) == 1 else None
