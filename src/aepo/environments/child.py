"""The process of one world: it makes the world, calls its methods as it is told, and ends with the other process.

Messages are pickles, each after its length in eight bytes. The first has what is needed to find the factory; each
other is (method, arguments by position, arguments by name). An answer is (done, state, result, error).
"""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import random
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from multiprocessing import spawn
from typing import Any

from aepo.environments.contract import EnvironmentLost
from aepo.types import ToolError

LENGTH = 8


def main() -> None:
    """Serve one world over the socket that is stdin, until the other end is closed."""
    channel = socket.socket(fileno=os.dup(0))
    # What the world prints goes to stderr, and what it reads is empty.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    with channel, asyncio.Runner() as runner:
        found: Any = None
        while (message := _received(channel)) is not None:
            if found is None:
                answer, found = _made(message)
            else:
                answer = _called(found, message, runner)
            channel.sendall(framed(answer))


def framed(message: Any) -> bytes:
    """A message with its length before it."""
    packed = pickle.dumps(message)
    return len(packed).to_bytes(LENGTH, "big") + packed


def _made(message: bytes) -> tuple[tuple[Any, ...], Any]:
    """Make the world; the answer to the first message, and the world."""
    try:
        paths, prepared, factory = pickle.loads(message)
        sys.path[:] = paths
        if prepared is not None:
            # The script that was started is imported, under another name, as `multiprocessing` does.
            spawn.prepare(prepared)
        make = pickle.loads(factory)
        # Without a seed from `reset`, equal calls must give equal draws in each process.
        random.seed(0)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(0)
        world = make()
    except BaseException as error:
        return (False, None, None, _sendable(error)), None
    return (False, None, None, None), world


def _called(world: Any, message: bytes, runner: asyncio.Runner) -> tuple[Any, ...]:
    try:
        name, args, kwargs = pickle.loads(message)
        if name == "restore":
            args = tuple(pickle.loads(given) for given in args)
        value = _value(runner, getattr(world, name), *args, **kwargs)
        if name == "snapshot":
            # The other process keeps it as it is.
            value = pickle.dumps(value)
        state = getattr(world, "state", None)
        answer = (bool(getattr(world, "done", False)), None if callable(state) else state, value, None)
        pickle.dumps(answer)
        return answer
    except BaseException as error:
        return bool(getattr(world, "done", False)), None, None, _sendable(error)


def _value(runner: asyncio.Runner, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    value = function(*args, **kwargs)

    async def awaited(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    return runner.run(awaited(value)) if inspect.isawaitable(value) else value


def _sendable(error: BaseException) -> BaseException:
    if not isinstance(error, ToolError | EnvironmentLost):
        error.add_note("in the world's process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _received(channel: socket.socket) -> bytes | None:
    """The next message; None at the end."""
    length = _exactly(channel, LENGTH)
    return None if length is None else _exactly(channel, int.from_bytes(length, "big"))


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    content = bytearray()
    while len(content) < size:
        piece = channel.recv(min(1 << 20, size - len(content)))
        if not piece:
            return None
        content += piece
    return bytes(content)
