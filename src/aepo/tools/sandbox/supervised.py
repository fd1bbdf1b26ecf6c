"""What the sandboxes on this machine share: each program has a thread that feeds, reads and ends it."""

from __future__ import annotations

import asyncio
import os
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
"""Of scratch folders, with the process that made them."""


class Supervised(ABC):
    """Runs programs; a backend says how one is started and ended."""

    limits: SandboxLimits

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`."""
        return await waited(*self.begin(code, timeout))

    def begin(self, code: str, timeout: float) -> tuple[Future[SandboxResult], Callable[[], None]]:
        """The result to come of a program, and what ends it early."""
        future = Future[SandboxResult]()
        try:
            stop = StopFlag()
            future.add_done_callback(lambda _: stop.close())
            work = partial(self._run, code, timeout, stop, future)
            # A daemon: it must not keep this process from ending.
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
        """What was read, the exit status or minus the signal, and whether it was killed; nothing of it runs on."""

    def _capture(
        self, process: Any, code: bytes, timeout: float, stop: StopFlag, too_large: Callable[[], bool] | None = None
    ) -> Captured:
        """See `capture`; `process` has a pid and three pipes."""
        with pidfd(process.pid) as exited:
            stdin = os.dup(process.stdin.fileno())
            process.stdin.close()
            streams = (process.stdout.fileno(), process.stderr.fileno())
            return capture(stdin, *streams, exited, code, timeout, self.limits, stop, too_large)


@contextmanager
def pidfd(process: int) -> Iterator[int]:
    """A descriptor of a process, which can be read once it has ended.

    Raises:
        ProcessLookupError: It is gone.
    """
    fd = os.pidfd_open(process)
    try:
        yield fd
    finally:
        os.close(fd)


async def waited(future: Future[T], cancel: Callable[[], object], seconds: float = float("inf")) -> T:
    """Its result. When the caller is cancelled, `cancel` asks for its end, and that is waited for all the same.

    Raises:
        TimeoutError: It is not there after `seconds`.
    """
    deadline = time.monotonic() + seconds
    try:
        answer = asyncio.wrap_future(future)
        await asyncio.wait([answer], timeout=seconds)
    except asyncio.CancelledError:
        cancel()
        # A task cancelled by asyncio itself may be so once more, whatever the scope.
        while not future.done() and time.monotonic() < deadline:
            with suppress(asyncio.CancelledError), anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
        raise
    if not answer.done():
        raise TimeoutError
    return answer.result()
