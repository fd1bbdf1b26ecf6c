"""A server that is a process of ours: JSON-RPC in lines over its stdin and stdout.

The SDK's own transport gives the server more of the environment than we want to, holds a line of any length in memory,
and leaves the server alone if this process is killed; hence this one.
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
# The guard takes twice `_GRACE` at most to end a server.
_LAST_SECONDS = 8.0
_POLL_SECONDS = 0.01
_CHUNK = 1 << 16
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
    # Not process.wait(): it also waits for pipes that a stray grandchild may hold.
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
            # After the session's end it is read on: a server that waits for room in the pipe cannot leave.
            wanted = wanted and await _pass_on(lines.feed(chunk), reader, incoming)


async def _pass_on(
    lines: Iterator[Line], reader: Reader, incoming: MemoryObjectSendStream[SessionMessage | Exception]
) -> bool:
    """Whether somebody is there to hear them."""
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
