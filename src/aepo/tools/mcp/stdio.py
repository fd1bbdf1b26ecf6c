"""Starts a server as a child process, and talks to it by lines of JSON-RPC over its stdin and stdout.

The SDK's own transport is not used, for three reasons: it gives the server more of the environment than it should have,
it holds a line of any length in memory, and the server goes on if this process is killed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client._transport import TransportStreams
from mcp.shared.message import SessionMessage

from aepo.process import guard
from aepo.tools.mcp.life import MOST_BYTES, Life
from aepo.tools.mcp.lines import Line, LineReader, Reader

_GRACE = 2.0
# The guard needs at most three times `_GRACE` to end a server and what it leaves behind.
_LAST_SECONDS = 8.0
_POLL_SECONDS = 0.01
_CHUNK = 1 << 16
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


@asynccontextmanager
async def stdio(
    command: Sequence[str], environment: Mapping[str, str], folder: str | None, life: Life
) -> AsyncIterator[TransportStreams]:
    """Start the server and open a transport to it; leaving the context ends its whole process group.

    Args:
        command: Program and arguments.
        environment: All environment variables that the server gets.
        folder: The working directory; by default that of this process.
        life: The session, which is told of the server's death and of what it writes to stderr.
    """
    lifeline, held = os.pipe()
    try:
        process = await anyio.open_process(
            [sys.executable, "-I", "-S", guard.__file__, str(lifeline), str(_GRACE), str(_GRACE), "", *command],
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
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    heard, reader = anyio.Event(), Reader()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process.stdout, incoming, reader, life)
            tasks.start_soon(_write, process.stdin, outgoing, reader, life)
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
    # process.wait() would also wait for pipes that a grandchild may still hold.
    with anyio.move_on_after(_LAST_SECONDS):
        while process.returncode is None:
            await anyio.sleep(_POLL_SECONDS)
        await heard.wait()
    if process.returncode is None:
        process.kill()


async def _read(
    stdout: ByteReceiveStream, incoming: MemoryObjectSendStream[SessionMessage | Exception], reader: Reader, life: Life
) -> None:
    lines = LineReader(MOST_BYTES)
    wanted = True
    with incoming, suppress(*_GONE):
        while True:
            try:
                chunk = await stdout.receive(_CHUNK)
            except _GONE:
                life.over.set()
                raise
            # Output is still read after the session's end: a server that waits for room in the pipe cannot end.
            wanted = wanted and await _pass_on(lines.feed(chunk), reader, incoming)


async def _pass_on(
    lines: Iterator[Line], reader: Reader, incoming: MemoryObjectSendStream[SessionMessage | Exception]
) -> bool:
    """Send the messages in these lines on; return False if nobody reads them any more."""
    try:
        for line in lines:
            for message in reader.read(line):
                await incoming.send(message)
    except _GONE:
        return False
    return True


async def _write(
    stdin: ByteSendStream, outgoing: MemoryObjectReceiveStream[SessionMessage], reader: Reader, life: Life
) -> None:
    try:
        with outgoing:
            async for sent in outgoing:
                reader.sent(sent.message)
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
