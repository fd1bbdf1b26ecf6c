"""A server that is a process of ours: JSON-RPC in lines over its stdin and stdout.

The SDK's own transport gives the server more of the environment than we want to, holds a line of any length in memory,
and leaves the server alone if this process is killed; hence this one.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from aepo.tools.mcp.life import MOST_BYTES, TOO_LONG, Life

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

_log = logging.getLogger(__name__)

_GUARD = Path(__file__).with_name("guard.py")
# The guard takes twice 2 s at most to end a server that does not want to.
_LAST_SECONDS = 8.0
_POLL_SECONDS = 0.01
_CHUNK = 1 << 16

_KEPT = 512
_ID = re.compile(rb'"id"\s*:\s*"?(\d+)"?\s*[,}]')
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


@asynccontextmanager
async def stdio(
    command: Sequence[str], environment: Mapping[str, str], folder: str | None, life: Life
) -> AsyncIterator[TransportStreams]:
    """Start the server and talk to it; leaving ends it and everything in its process group.

    Args:
        command: Program and arguments.
        environment: All that the server has.
        folder: Its working directory, this process's own by default.
        life: Told of its death and of what it writes to stderr.
    """
    lifeline, held = os.pipe()
    try:
        process = await anyio.open_process(
            [sys.executable, "-I", "-S", str(_GUARD), str(lifeline), *command],
            env=environment,
            cwd=folder,
            start_new_session=True,
            pass_fds=[lifeline],
        )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(lifeline)
    assert process.stdin and process.stdout and process.stderr
    incoming, read = anyio.create_memory_object_stream["SessionMessage | Exception"](0)
    write, outgoing = anyio.create_memory_object_stream["SessionMessage"](0)
    heard = anyio.Event()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process.stdout, incoming, life)
            tasks.start_soon(_write, process.stdin, outgoing, life)
            tasks.start_soon(_listen, process.stderr, life, heard)
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    os.close(held)
                    await _end(process, heard)
                tasks.cancel_scope.cancel()
    finally:
        for stream in (incoming, read, write, outgoing):
            stream.close()
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _end(process: Process, heard: anyio.Event) -> None:
    assert process.stdin
    with suppress(*_GONE):
        await process.stdin.aclose()
    # Not process.wait(): it also waits for pipes that a stray grandchild may hold.
    with anyio.move_on_after(_LAST_SECONDS):
        while process.returncode is None:
            await anyio.sleep(_POLL_SECONDS)
        await heard.wait()
    if process.returncode is None:
        process.kill()


async def _read(
    stdout: ByteReceiveStream, incoming: MemoryObjectSendStream[SessionMessage | Exception], life: Life
) -> None:
    lines = Lines(MOST_BYTES)
    wanted = True
    with incoming, suppress(*_GONE):
        while True:
            try:
                chunk = await stdout.receive(_CHUNK)
            except _GONE:
                life.over.set()
                raise
            # After the session's end it is read on: a server that waits for room in the pipe cannot leave.
            wanted = wanted and await _pass_on(lines.feed(chunk), incoming)


async def _pass_on(lines: Iterator[Line], incoming: MemoryObjectSendStream[SessionMessage | Exception]) -> bool:
    """Whether somebody is there to hear them."""
    for line in lines:
        message = _message(line)
        try:
            if message is not None:
                await incoming.send(message)
        except _GONE:
            return False
    return True


async def _write(stdin: ByteSendStream, outgoing: MemoryObjectReceiveStream[SessionMessage], life: Life) -> None:
    try:
        with outgoing:
            async for sent in outgoing:
                await stdin.send(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
    except _GONE:
        life.over.set()


async def _listen(stderr: ByteReceiveStream, life: Life, heard: anyio.Event) -> None:
    try:
        with suppress(*_GONE):
            while True:
                life.say(await stderr.receive(_CHUNK))
    finally:
        heard.set()


@dataclass(frozen=True)
class Line:
    """A line without its end.

    Attributes:
        text: All of it, or the beginning of one that is cut.
        tail: The end of one that is cut.
        cut: Whether it was too long.
    """

    text: bytes
    tail: bytes = b""
    cut: bool = False


class Lines:
    """Cuts a stream of bytes into lines; of one longer than `limit` bytes it keeps the two ends."""

    def __init__(self, limit: int) -> None:
        """Begin with nothing."""
        self._limit = limit
        self._text, self._tail, self._cut = bytearray(), b"", False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in this chunk."""
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


def _message(line: Line) -> SessionMessage | None:
    from mcp.shared.message import SessionMessage
    from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

    if line.cut:
        number = _id_of(line)
        if number is None:
            _log.warning("an MCP server wrote a line of more than %d bytes that answers nothing", MOST_BYTES)
            return None
        error = ErrorData(code=INTERNAL_ERROR, message=TOO_LONG)
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=error))
    if not line.text.strip():
        return None
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line.text, by_name=False))
    except ValueError:
        _log.debug("an MCP server wrote a line that is no message: %r", line.text[:200])
        return None


def _id_of(line: Line) -> int | None:
    """Which request a reply answers of which only the two ends are known."""
    before = line.text[:_KEPT].partition(b'"result"')[0]
    if b'"method"' in before:  # not a reply
        return None
    found = _ID.search(before) or next(reversed(list(_ID.finditer(line.tail))), None)
    return int(found[1]) if found else None
