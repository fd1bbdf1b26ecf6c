"""Does work for which the caller does not wait, one piece at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """Runs a function in its own thread. Python does not end before the function has ended.

    Ctrl-C reaches the main thread only, so it never interrupts the function. One thread starts functions; others may
    wait for them.

    Args:
        name: The name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: Future[object] | None = None
        self._changing = threading.Lock()

    def start(self, work: Callable[[], object]) -> None:
        """Start a function after the one before has ended.

        Raises:
            Exception: The function before raised it; then no function is started.
        """
        self.wait()
        thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        with self._changing:
            self._running = thread.submit(work)
        thread.shutdown(wait=False)

    def check(self) -> None:
        """Raise the error of a function that has ended, once; do not wait for a running one.

        Raises:
            Exception: The function raised it.
        """
        if (running := self._running) is not None and running.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the function has ended; if it has failed, the error is raised once, or in all that wait.

        Raises:
            Exception: The function raised it.
        """
        if (running := self._running) is not None:
            error = running.exception()
            # This comes after the wait, so that after a Ctrl-C in it the function can be waited for again.
            with self._changing:
                if self._running is running:
                    self._running = None
            if error is not None:
                raise error
