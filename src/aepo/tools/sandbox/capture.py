"""Feeding a program its code and reading what it prints, with a deadline, two caps and a way to stop early.

It runs in a thread, on plain file descriptors, so that both backends and both event loops of anyio share it.
"""

from __future__ import annotations

import codecs
import os
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from aepo.tools.sandbox.base import Limits
from aepo.tools.sandbox.bootstrap import READY

T = TypeVar("T")

START_SECONDS = 20.0
"""How long a sandbox may take to start."""

WATCH_SECONDS = 0.1
"""How often a program is looked at from outside, where the backend does that."""


class End(Enum):
    """Why reading stopped."""

    EXIT = "exit"
    TIMEOUT = "timeout"
    OUTPUT = "output"
    MEMORY = "memory"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Captured:
    """What was read until then: the head of stdout, the tail of stderr, and how many characters stdout had in all."""

    end: End
    stdout: bytes
    stderr: bytes
    characters: int = 0


class Stop:
    """A flag that one thread raises and another one can wait for with `select`."""

    def __init__(self) -> None:
        """Open it."""
        self.fd, self._write = os.pipe()
        self._lock, self._open = threading.Lock(), True

    def set(self) -> None:
        """Raise it, if it is still open."""
        with self._lock:
            if self._open:
                os.write(self._write, b"\0")

    def close(self) -> None:
        """Free the descriptors; may be called twice."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.fd)
                os.close(self._write)


async def in_thread(run: Callable[[Stop], T]) -> T:
    """Run `run(stop)` in a thread; cancelling raises the flag and waits until the thread has cleaned up."""
    stop, turn, begun, ended = Stop(), threading.Lock(), False, threading.Event()
    result: list[T] = []

    def work() -> None:
        nonlocal begun
        with turn:
            if ended.is_set():
                return
            begun = True
        try:
            result.append(run(stop))
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    stop.set()

            tasks.start_soon(watch)
            await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1))
            tasks.cancel_scope.cancel()
    finally:
        # A task cancelled by asyncio itself, rather than by a scope, leaves the thread behind; even more than once.
        stop.set()
        with turn:
            if not begun:
                ended.set()
        while not ended.is_set():
            with suppress(anyio.get_cancelled_exc_class()), anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
        stop.close()
    # A thread is waited for whatever happens, so the scope that was cancelled meanwhile has raised nothing yet.
    await anyio.lowlevel.checkpoint_if_cancelled()
    return result[0]


def capture(
    stdin: int,
    stdout: int,
    stderr: int,
    exited: int,
    code: bytes,
    timeout: float,
    limits: Limits,
    stop: Stop,
    too_large: Callable[[], bool] | None = None,
) -> Captured:
    """Write `code` to `stdin` and close it, read both streams until the program exits or must be killed.

    Args:
        stdin: Descriptor of the program's stdin; closed here.
        stdout: Descriptor of its stdout.
        stderr: Descriptor of its stderr.
        exited: A pidfd. Its end counts, not the streams' end: a child may hold them open for ever.
        code: What to write.
        timeout: Seconds from its first byte on stdout, which says that it is ready; a slow start is not its fault.
        limits: For the caps.
        stop: Ends the reading early.
        too_large: Asked now and then, once it is ready, whether the program holds too much memory.
    """
    with ExitStack() as stack:
        source = _Source(stdin, code)
        stack.callback(source.close)
        selector = stack.enter_context(selectors.DefaultSelector())
        return _read(selector, source, stdout, stderr, exited, timeout, limits, stop, too_large)


class _Source:
    """What is left of the code to write, and where."""

    def __init__(self, fd: int, code: bytes) -> None:
        self.fd = fd
        self._left = memoryview(code)

    def write(self) -> bool:
        """Write what fits; whether that was all."""
        try:
            self._left = self._left[os.write(self.fd, self._left) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._left = self._left[:0]
        return not self._left

    def close(self) -> None:
        """The end of the input; may be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _read(
    selector: selectors.BaseSelector,
    source: _Source,
    stdout: int,
    stderr: int,
    exited: int,
    timeout: float,
    limits: Limits,
    stop: Stop,
    too_large: Callable[[], bool] | None,
) -> Captured:
    deadline, started, ended = time.monotonic() + START_SECONDS, False, False
    look = time.monotonic() + WATCH_SECONDS
    kept = {stdout: bytearray(), stderr: bytearray()}
    total, characters = 0, 0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def captured(end: End) -> Captured:
        return Captured(end, bytes(kept[stdout]), bytes(kept[stderr]), characters + len(decoder.decode(b"", True)))

    def end_input() -> None:
        if source.fd >= 0:
            selector.unregister(source.fd)
            source.close()

    for fd in (source.fd, stdout, stderr):
        os.set_blocking(fd, False)
    for fd in (stdout, stderr, exited, stop.fd):
        selector.register(fd, selectors.EVENT_READ)
    selector.register(source.fd, selectors.EVENT_WRITE)
    while True:
        # After the exit, only what already lies in the pipes is read.
        until = min(deadline, look) if started and too_large is not None else deadline
        events = selector.select(0 if ended else max(0.0, until - time.monotonic()))
        ready = {key.fd for key, _ in events}
        if stop.fd in ready:
            return captured(End.STOPPED)
        if source.fd in ready and source.write():
            end_input()
        streams = ready & kept.keys()
        for fd in streams:
            try:
                chunk = os.read(fd, 1 << 16)
            except BlockingIOError:
                continue
            if not chunk:
                selector.unregister(fd)
                continue
            if fd == stdout and not started:
                deadline, started = time.monotonic() + timeout, True
            total += len(chunk)
            keep = kept[fd]
            if fd == stderr:
                keep += chunk
                del keep[: max(0, len(keep) - limits.output_kept)]
            else:
                characters += len(decoder.decode(chunk))
                keep += chunk[: max(0, limits.output_kept + len(READY) - len(keep))]
        if total > limits.output_killed:
            return captured(End.OUTPUT)
        if ended and not streams:
            return captured(End.EXIT)
        now = time.monotonic()
        if exited in ready and not ended:
            ended = True
            end_input()
        elif not ended and now >= deadline:
            return captured(End.TIMEOUT)
        elif started and not ended and too_large is not None and now >= look:
            look = now + WATCH_SECONDS
            if too_large():
                return captured(End.MEMORY)
