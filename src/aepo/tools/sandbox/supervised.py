"""The code that all sandboxes on this machine share: a thread for each program sends its code and reads its output."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import anyio

from aepo.tools.sandbox.base import SandboxLimits, SandboxResult
from aepo.tools.sandbox.capture import Captured, StopFlag, capture
from aepo.tools.sandbox.outcome import failure, outcome

T = TypeVar("T")

PREFIX = "aepo-{}-"
"""Prefix of scratch folders, with the number of the process that made them."""


class Supervised(ABC):
    """Runs programs in threads. A subclass starts and ends a program in `_supervise`."""

    limits: SandboxLimits

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`."""
        return await waited(*self.begin(code, timeout))

    def begin(self, code: str, timeout: float) -> tuple[Future[SandboxResult], Callable[[], None]]:
        """Start a program; return its future result and a function that ends it early."""
        future = Future[SandboxResult]()
        try:
            stop = StopFlag()
            future.add_done_callback(lambda _: stop.close())
            work = partial(self._run, code, timeout, stop, future)
            # The thread is a daemon, so that this process can end before it.
            threading.Thread(target=work, name="sandbox", daemon=True).start()
            return future, stop.set
        except (OSError, RuntimeError) as error:
            future.set_result(failure(error, 0.0))
            return future, lambda: None

    def _run(self, code: str, timeout: float, stop: StopFlag, future: Future[SandboxResult]) -> None:
        started = time.monotonic()
        try:
            captured, returncode, died = self._supervise(code.encode("utf-8", "surrogatepass"), timeout, stop)
            result = outcome(captured, returncode, died, time.monotonic() - started)
        except Exception as error:
            result = failure(error, time.monotonic() - started)
        future.set_result(result)

    @abstractmethod
    def _supervise(self, code: bytes, timeout: float, stop: StopFlag) -> tuple[Captured, int | None, bool]:
        """Run the program until its end; nothing of it runs on.

        Returns:
            The output; the exit status, or minus the signal; True if the program was killed.
        """

    def _capture(
        self, process: Any, code: bytes, timeout: float, stop: StopFlag, too_large: Callable[[], bool] | None = None
    ) -> Captured:
        """Call `capture` for a process with a `pid` and three pipes."""
        with pidfd(process.pid) as exited:
            stdin = os.dup(process.stdin.fileno())
            process.stdin.close()
            streams = (process.stdout.fileno(), process.stderr.fileno())
            return capture(stdin, *streams, exited, code, timeout, self.limits, stop, too_large)


@contextmanager
def pidfd(process: int) -> Iterator[int]:
    """Open a descriptor of a process; `select` reports it as readable once the process has ended.

    Raises:
        ProcessLookupError: The process does not exist any more.
    """
    fd = os.pidfd_open(process)
    try:
        yield fd
    finally:
        os.close(fd)


def readable(fd: int, seconds: float) -> bool:
    """Whether a descriptor can be read within that time; a pidfd can when its process has ended."""
    # Unlike `select`, it takes descriptors above 1024.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


async def waited(future: Future[T], cancel: Callable[[], object], seconds: float = float("inf")) -> T:
    """Wait for a future and return its result.

    If the caller is cancelled, `cancel` is called, and the future's end is still waited for.

    Raises:
        TimeoutError: There is no result after `seconds`.
    """
    deadline = time.monotonic() + seconds
    try:
        answer = asyncio.wrap_future(future)
        await asyncio.wait([answer], timeout=seconds)
    except asyncio.CancelledError:
        cancel()
        # A task that asyncio itself has cancelled may be cancelled once more; the shield does not stop that.
        while not future.done() and time.monotonic() < deadline:
            with suppress(asyncio.CancelledError), anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
        raise
    if not answer.done():
        raise TimeoutError
    return answer.result()
