"""Feeding a program its code and reading what it prints, with a deadline, two caps and a way to stop early."""

from __future__ import annotations

import codecs
import os
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum

from aepo.tools.sandbox.base import Limits
from aepo.tools.sandbox.bootstrap import READY

START_SECONDS = 20.0
"""How long a sandbox may take to start."""

WATCH_SECONDS = 0.1
"""How often a program is looked at from outside, where the backend does that."""

_PAUSE_SECONDS = 0.001
"""Between two looks at what it printed: to wake for every line costs both sides more than the line."""


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
        self.fd = os.eventfd(0)
        self._lock = threading.Lock()

    def set(self) -> None:
        """Raise it, if it is still open."""
        with self._lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def close(self) -> None:
        """Free the descriptor."""
        with self._lock:
            os.close(self.fd)
            self.fd = -1


class _Output:
    """What is kept of the two streams."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._head, self._tail = bytearray(), bytearray()
        self.total = self._characters = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, chunk: bytes, is_stdout: bool) -> None:
        self.total += len(chunk)
        if is_stdout:
            self._characters += len(self._decoder.decode(chunk))
            self._head += chunk[: max(0, self._kept + len(READY) - len(self._head))]
        else:
            self._tail += chunk
            del self._tail[: max(0, len(self._tail) - self._kept)]

    def captured(self, end: End) -> Captured:
        characters = self._characters + len(self._decoder.decode(b"", True))
        return Captured(end, bytes(self._head), bytes(self._tail), characters)


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
        source = stack.enter_context(open(stdin, "wb", buffering=0))
        selector = stack.enter_context(selectors.DefaultSelector())
        for fd in (stdin, stdout, stderr):
            os.set_blocking(fd, False)
        for fd in (stdout, stderr, exited, stop.fd):
            selector.register(fd, selectors.EVENT_READ)
        selector.register(stdin, selectors.EVENT_WRITE)
        left, output, started = memoryview(code), _Output(limits.output_kept), False
        deadline, look = time.monotonic() + START_SECONDS, float("inf")
        end: End | None = None
        while True:
            # After its end, only what already lies in the pipes is read.
            wait = max(0.0, min(deadline, look) - time.monotonic()) if end is None else 0
            ready = {key.fd for key, _ in selector.select(wait)}
            if stop.fd in ready:
                return output.captured(End.STOPPED)
            if stdin in ready:
                try:
                    left = left[source.write(left) or 0 :]
                except BrokenPipeError:
                    left = left[:0]
            if not source.closed and (not left or end is not None):
                selector.unregister(stdin)
                source.close()
            streams = ready & {stdout, stderr}
            for fd in streams:
                chunk = os.read(fd, 1 << 16)
                output.add(chunk, fd == stdout)
                if not chunk:
                    selector.unregister(fd)
                elif fd == stdout and not started:
                    started, deadline = True, time.monotonic() + timeout
                    look = look if too_large is None else time.monotonic() + WATCH_SECONDS
            if output.total > limits.output_killed:
                return output.captured(End.OUTPUT)
            if end is End.MEMORY or (end is End.EXIT and not streams):
                return output.captured(end)
            now = time.monotonic()
            if exited in ready:
                end = End.EXIT
            elif now >= deadline:
                return output.captured(End.TIMEOUT)
            elif now >= look:
                look = now + WATCH_SECONDS
                end = End.MEMORY if too_large is not None and too_large() else None
            elif streams:
                time.sleep(_PAUSE_SECONDS)
