"""A world in a process of its own, for worlds that share something in one process: a JVM, pygame, a global variable.

It also makes a call that hangs end for good, because the process is killed. The process is started anew, not forked:
a fork of a process with threads, or with a GPU, may hang.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import pickle
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from aepo.environments.child import LENGTH, framed
from aepo.environments.contract import EnvironmentLost, has
from aepo.process.guarded import Guarded

CLOSING = 3.0
"""Seconds that the world's `close` may take, and then its process to end."""


class ProcessWorld:
    """The other end of a world. Its methods have the signatures of the world's class, and all of them are async.

    `done` and `state` are those after the last call. A snapshot travels as a pickle.
    """

    _start: bytes
    """The message from which the child makes the world."""

    def __init__(self) -> None:
        """Nothing is started before the first call."""
        self._done, self._state = False, None
        self._ended = False
        self._turn = anyio.Lock()
        self._child: _Child | None = None

    @property
    def done(self) -> bool:
        """Whether the world said so after the last call."""
        return self._done

    @property
    def state(self) -> Any:
        """The world's state after the last call; None if it tells none."""
        return self._state

    async def _ask(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        async with self._turn:
            if self._child is None and not self._ended:
                self._child = await anyio.to_thread.run_sync(_Child)
                try:
                    await self._exchange(self._start)
                except BaseException:
                    self._end()
                    raise
            return await self._exchange(framed((name, args, kwargs)))

    async def _exchange(self, message: bytes) -> Any:
        lost = f"the process of {type(self).__name__} has ended"
        if self._ended or self._child is None:
            raise EnvironmentLost(lost)
        try:
            self._done, self._state, value, error = await self._child.exchange(message)
        except BaseException as gone:
            # A call that was given up may still go on, so nobody knows the state of this world.
            self._end()
            if isinstance(gone, OSError | EOFError):
                raise EnvironmentLost(f"{lost}: {gone}") from gone
            raise
        if error is not None:
            raise error
        return value

    async def _close(self, told: bool) -> None:
        """Let the world close itself, if it can, then end its process and all that this has started."""
        with anyio.CancelScope(shield=True):
            try:
                if told and self._child is not None and not self._ended:
                    with anyio.move_on_after(CLOSING), suppress(EnvironmentLost):
                        await self._ask("close", (), {})
            finally:
                self._end()
                if self._child is not None:
                    await anyio.to_thread.run_sync(self._child.wait)

    def _end(self) -> None:
        self._ended = True
        if self._child is not None:
            self._child.end()


class _Child:
    """A child process under the guard: when its lifeline is closed, or this process dies, all of its group is ended."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-c", "from aepo.environments.child import main; main()"]
        paths = filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])
        # Sets must have the same order in all of them.
        environment = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
        try:
            with theirs:
                self._guarded = Guarded(command, 1.0, environment, stdin=theirs.fileno())
        except BaseException:
            ours.close()
            raise
        self.end: Callable[[], object] = weakref.finalize(self, _let_go, ours, self._guarded)
        self._socket = ours

    async def exchange(self, message: bytes) -> tuple[bool, Any, Any, BaseException | None]:
        """Send a message and read the answer.

        Raises:
            EOFError: The process has ended.
            OSError: Likewise.
        """
        await asyncio.get_running_loop().sock_sendall(self._socket, message)
        length = await self._read(LENGTH)
        answer: tuple[bool, Any, Any, BaseException | None] = pickle.loads(
            await self._read(int.from_bytes(length, "big"))
        )
        return answer

    def wait(self) -> None:
        """Wait until the guard has ended all processes of the group."""
        with suppress(subprocess.TimeoutExpired):
            self._guarded.wait(2 * CLOSING)

    async def _read(self, size: int) -> bytearray:
        content, loop = bytearray(), asyncio.get_running_loop()
        while len(content) < size:
            piece = await loop.sock_recv(self._socket, min(1 << 20, size - len(content)))
            if not piece:
                raise EOFError("it closed the connection")
            content += piece
        return content


def in_process(factory: Callable[[], Any], kind: type) -> type[ProcessWorld]:
    """A class with the same methods, whose objects live in processes of their own.

    Args:
        factory: Makes the world. It must be found by its name in another process.
        kind: The class of the worlds that it makes.

    Raises:
        TypeError: The factory cannot be found by a name.
    """
    try:
        packed = pickle.dumps(factory)
    except Exception as error:
        raise TypeError(
            f"environment {kind.__name__} cannot be found in a process of its own ({error}): "
            "define the class at the top of a module, or a function there that makes one"
        ) from error
    prepared: dict[str, Any] | None = None
    if b"__main__" in packed:
        prepared = spawn.get_preparation_data(kind.__name__)
        del prepared["authkey"]
    public = inspect.getmembers(kind, inspect.isfunction)
    methods: dict[str, Any] = {name: _forwarded(name, method) for name, method in public if not name.startswith("_")}
    methods["close"] = _closing(has(kind, "close"))
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__, "_start": framed((sys.path, prepared, packed))}
    return type(kind.__name__, (ProcessWorld,), {**about, **methods})


def _forwarded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def forward(self: ProcessWorld, *args: Any, **kwargs: Any) -> Any:
        return await self._ask(name, args, kwargs)

    return forward


def _closing(told: bool) -> Callable[..., Any]:
    async def close(self: ProcessWorld) -> None:
        """End the process."""
        await self._close(told)

    return close


def _let_go(channel: socket.socket, guarded: Guarded) -> None:
    channel.close()
    guarded.end()
