"""Sends a program its code and reads what it prints, with a deadline, limits and a way to stop early."""

from __future__ import annotations

import codecs
import math
import os
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from io import FileIO

from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.bootstrap import READY

START_SECONDS = 20.0
"""The time that a sandbox may take to start."""

WATCH_SECONDS = 0.1
"""The time between two looks at a program's memory, if the backend measures it from outside."""

_PAUSE_SECONDS = 0.001
"""The time between two reads of the output: to wake up for every line would cost more than the line itself."""


class End(Enum):
    """Why reading stopped."""

    EXIT = "exit"
    TIMEOUT = "timeout"
    OUTPUT = "output"
    MEMORY = "memory"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Captured:
    """The output of a program.

    Attributes:
        end: Why reading stopped.
        stdout: The beginning of stdout.
        stderr: The end of stderr.
        characters: Number of characters on stdout in all.
    """

    end: End
    stdout: bytes
    stderr: bytes
    characters: int = 0


class StopFlag:
    """A flag that one thread raises and another one can wait for with `select`."""

    def __init__(self) -> None:
        """Open the descriptor."""
        self.fd = os.eventfd(0)
        self._lock = threading.Lock()

    def set(self) -> None:
        """Raise the flag, if it is still open."""
        with self._lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Free the descriptor."""
        with self._lock:
            os.close(self.fd)
            self.fd = -1


class _Output:
    """Keeps the beginning of stdout and the end of stderr."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._head, self._tail = bytearray(), bytearray()
        self.total = self._characters = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, fd: int, is_stdout: bool) -> bool:
        """Read what lies in a stream; return False at its end."""
        chunk = os.read(fd, 1 << 16)
        self.total += len(chunk)
        if is_stdout:
            self._characters += len(self._decoder.decode(chunk))
            self._head += chunk[: max(0, self._kept + len(READY) - len(self._head))]
        else:
            self._tail += chunk
            del self._tail[: max(0, len(self._tail) - self._kept)]
        return bool(chunk)

    def captured(self, end: End) -> Captured:
        characters = self._characters + len(self._decoder.decode(b"", True))
        return Captured(end, bytes(self._head), bytes(self._tail), characters)


class _Clock:
    """Knows when a program must be done, and when its memory is measured until then."""

    def __init__(self, seconds: float, too_large: Callable[[], bool] | None = None) -> None:
        now = time.monotonic()
        self._deadline, self._too_large = now + seconds, too_large
        self._look = math.inf if too_large is None else now + WATCH_SECONDS

    def left(self) -> float:
        return max(0.0, min(self._deadline, self._look) - time.monotonic())

    def end(self) -> End | None:
        """Return the reason to kill the program now, or None."""
        now = time.monotonic()
        if now >= self._deadline:
            return End.TIMEOUT
        if self._too_large is None or now < self._look:
            return None
        self._look = now + WATCH_SECONDS
        return End.MEMORY if self._too_large() else None


def _written(pipe: FileIO, left: memoryview) -> memoryview:
    """Write what the pipe takes, and return the rest; the rest is empty if nobody reads the pipe any more."""
    try:
        return left[pipe.write(left) or 0 :]
    except BrokenPipeError:
        return left[:0]


def _watched(stdin: int, streams: tuple[int, int], ends: tuple[int, int]) -> selectors.BaseSelector:
    """Watch the pipes, which then do not block, and the two descriptors that tell of an end."""
    selector = selectors.DefaultSelector()
    for fd in (stdin, *streams):
        os.set_blocking(fd, False)
    for fd in (*streams, *ends):
        selector.register(fd, selectors.EVENT_READ)
    selector.register(stdin, selectors.EVENT_WRITE)
    return selector


def capture(
    stdin: int,
    stdout: int,
    stderr: int,
    exited: int,
    code: bytes,
    timeout: float,
    limits: SandboxLimits,
    stop: StopFlag,
    too_large: Callable[[], bool] | None = None,
    begun: bool = False,
) -> Captured:
    """Write `code` to `stdin` and close it; read both streams until the program exits or must be killed.

    Args:
        stdin: Descriptor of the program's stdin; it is closed here.
        stdout: Descriptor of its stdout.
        stderr: Descriptor of its stderr.
        exited: A pidfd of the program, or what else can be read at its end. The streams' end does not count, because a
            child may hold them open for ever.
        code: The code to write.
        timeout: Seconds from its first byte on stdout, which says that it is ready. A slow start does not count.
        limits: The limits on output.
        stop: A flag that ends the reading early.
        too_large: A function that tells whether the program holds too much memory. It is called again and again once
            the program is ready.
        begun: Whether the program has begun before, and says nothing more about it.
    """
    pipes, ends = (stdout, stderr), (exited, stop.fd)
    with open(stdin, "wb", buffering=0) as pipe, _watched(stdin, pipes, ends) as selector:
        left, output, started = memoryview(code), _Output(limits.output_kept), begun
        clock = _Clock(timeout, too_large) if begun else _Clock(START_SECONDS)
        end: End | None = None
        while True:
            # After the program's end, only the data that is already in the pipes is read.
            ready = {key.fd for key, _ in selector.select(clock.left() if end is None else 0)}
            if stop.fd in ready:
                return output.captured(End.STOPPED)
            if stdin in ready:
                left = _written(pipe, left)
            if not pipe.closed and (not left or end is not None):
                selector.unregister(stdin)
                pipe.close()
            streams = ready & {stdout, stderr}
            for fd in streams:
                if not output.read(fd, fd == stdout):
                    selector.unregister(fd)
                elif fd == stdout and not started:
                    started, clock = True, _Clock(timeout, too_large)
            if output.total > limits.output_killed:
                return output.captured(End.OUTPUT)
            if end is End.MEMORY or (end is End.EXIT and not streams):
                return output.captured(end)
            if exited in ready:
                end = End.EXIT
            elif (end := clock.end()) is End.TIMEOUT:
                return output.captured(end)
            elif end is None and streams:
                time.sleep(_PAUSE_SECONDS)
