"""Work that the caller does not wait for, one piece at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """Runs a function in a thread of its own. Python does not end before it has.

    Ctrl-C reaches the main thread only, so what runs here is never interrupted.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: Future[object] | None = None

    def start(self, work: Callable[[], object]) -> None:
        """Start a function, after the one before it has ended.

        Raises:
            Exception: The one before raised it; then nothing is started.
        """
        self.wait()
        thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._running = thread.submit(work)
        thread.shutdown(wait=False)

    def check(self) -> None:
        """Raise the error of a function that has ended, once; do not wait for one that runs.

        Raises:
            Exception: The function raised it.
        """
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self) -> None:
        """Wait until the function has ended; if it has failed, the error is raised once.

        Raises:
            Exception: The function raised it.
        """
        if (running := self._running) is not None:
            error = running.exception()
            # After the wait: Ctrl-C during it leaves the function to be waited for again.
            self._running = None
            if error is not None:
                raise error
