"""Keeps a few started sandboxes, so that a session begins without waiting for one."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.interpreter import Box, Interpreter, SandboxLost

IDLE_SECONDS = 5.0
"""After this time without a session, those that wait are ended."""


class Ready:
    """Started sandboxes that wait for a session.

    Args:
        sandbox: How they are started.
        count: How many wait while a session is open; 0 for none.
    """

    def __init__(self, sandbox: BubblewrapSandbox, count: int) -> None:
        self._sandbox, self._count = sandbox, count
        self._lock = threading.Lock()
        self._waiting: deque[Future[Box]] = deque()
        self._starting = ThreadPoolExecutor(count + 2, thread_name_prefix="sandbox")
        self._open = 0
        self._idle: threading.Timer | None = None

    def take(self) -> Interpreter:
        """A started interpreter, which nobody else has.

        Raises:
            SandboxLost: None can be started.
        """
        self.join()
        with self._lock:
            found = self._waiting.popleft() if self._waiting else self._start()
            while len(self._waiting) < self._count:
                self._waiting.append(self._start())
        try:
            first = found.result().first
            # It may have been killed while it waited.
            return Box(self._sandbox).first if first.gone() else first
        except BaseException:
            self.give_back()
            raise

    def join(self) -> None:
        """Say that a session has begun that took none."""
        with self._lock:
            self._open += 1
            if self._idle is not None:
                self._idle.cancel()

    def give_back(self) -> None:
        """Say that a session has ended; each `take` and each `join` needs one."""
        with self._lock:
            self._open -= 1
            if self._open == 0:
                self._idle = threading.Timer(IDLE_SECONDS, self._rest)
                self._idle.daemon = True
                self._idle.start()

    def close(self) -> None:
        """End those that wait, now."""
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
        for each in waiting:
            with suppress(SandboxLost):
                each.result().first.end()

    def _start(self) -> Future[Box]:
        return self._starting.submit(Box, self._sandbox)

    def _rest(self) -> None:
        with self._lock:
            if self._open:
                return
        self.close()
