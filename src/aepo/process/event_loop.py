"""One event loop for the whole process, in a thread of its own; all async code runs there.

A client, a lock or a semaphore of a tool or a reward belongs to the event loop of its first use. So the same loop runs
until the process ends, for all steps and evaluations. Because it has its own thread, callers may be inside another
running loop, as in a notebook cell. Python raises `KeyboardInterrupt` only in the main thread, which just waits.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from typing import Any, Generic, TypeVar

from aepo.process.signals import Terminated
from aepo.process.user_code import told

T = TypeVar("T")

GRACE = 10.0
"""Seconds that cancelled code has to end; after that the loop counts as blocked and is abandoned."""

CLOSING = 1.0
"""Seconds that the loop has to close."""

_log = logging.getLogger(__name__)


class _Loop:
    """The thread and its event loop."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        # Its worker threads inherit `daemon`, so a tool that never returns does not keep the process alive.
        self.thread = threading.Thread(target=self._host, args=(begun,), name="aepo event loop", daemon=True)
        self.thread.start()
        self.asyncio, self._asked = begun.result()

    def _host(self, begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        async def until_asked() -> None:
            asked = asyncio.Event()
            begun.set_result((asyncio.get_running_loop(), asked))
            await asked.wait()

        try:
            asyncio.run(until_asked())
        except BaseException as error:  # sys.exit in a callback ends the loop; the waiting callers get the error
            self.failure = error

    def stop(self) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self.asyncio.call_soon_threadsafe(self._asked.set)
        # Code that was abandoned may never end.
        self.thread.join(CLOSING)


class _Running(Generic[T]):
    """Runs one async function on the loop. Ctrl-C may come between any two lines; `start` and `cancel` allow for it."""

    def __init__(self, loop: _Loop, function: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...]) -> None:
        self.loop, self.ended = loop, threading.Event()
        self._function, self._args, self._threads = function, args, _threads()
        self._task: asyncio.Task[T] | None = None
        self._future: Future[T] = Future()

    def start(self) -> None:
        """Start the function; a second call does nothing."""
        self.loop.asyncio.call_soon_threadsafe(self._begin)

    def result(self) -> T:
        error = self._future.exception()
        if error is None:
            return self._future.result()
        if isinstance(error, Exception):
            raise error
        # The caller did not cancel it: either the loop is ending, or the function cancelled itself.
        self.loop.thread.join(CLOSING)
        raise self.loop.failure or RuntimeError(f"what ran on the event loop ended by {told(error)}") from error

    def cancel(self) -> None:
        """Cancel it and wait until it has ended, or is abandoned."""
        with suppress(RuntimeError):  # the loop has ended
            self.loop.asyncio.call_soon_threadsafe(self._cancel)
        if not self.ended.wait(GRACE):
            _log.warning("the event loop is blocked, probably by a tool that does not wait asynchronously: left behind")
            _forget(self.loop)

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._carry_out())
            self._task.add_done_callback(self._end)

    async def _carry_out(self) -> T:
        _compute_with(self._threads)
        return await self._function(*self._args)

    def _end(self, task: asyncio.Task[T]) -> None:
        self.ended.set()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._future.set_result(task.result())
        else:
            self._future.set_exception(error)

    def _cancel(self) -> None:
        if self._task is None:
            self.ended.set()
        else:
            self._task.cancel()


_current: _Loop | None = None
_lock = threading.Lock()


def run(
    function: Callable[..., Coroutine[Any, Any, T]],
    *args: Any,
    interrupted: Callable[[], object] | None = None,
) -> T:
    """Run an async function on the loop and wait for it. Ctrl-C cancels it; a second Ctrl-C does not wait for the end.

    Torch uses as many threads there as in the caller's thread.

    Args:
        function: The async function.
        args: Its arguments.
        interrupted: Called in the loop at the first Ctrl-C, instead of cancelling.

    Raises:
        RuntimeError: It was called in the loop's own thread, which would wait for itself.
        Exception: The function raised it.
    """
    running = _Running(_loop(), function, args)
    try:
        while True:
            try:
                running.start()
                return running.result()
            except KeyboardInterrupt as stop:
                if interrupted is None or isinstance(stop, Terminated):
                    raise
                running.loop.asyncio.call_soon_threadsafe(interrupted)
                interrupted = None
    finally:
        if not running.ended.is_set():
            running.cancel()


async def hosted(function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Await an async function that must run on the loop, from whatever loop; it is cancelled with the caller.

    Args:
        function: The async function.
        args: Its arguments.

    Raises:
        Exception: The function raised it.
    """
    home = _started().asyncio
    if home is asyncio.get_running_loop():
        return await function(*args)
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(function(*args), home))


@contextmanager
def entered(manager: AbstractAsyncContextManager[object]) -> Iterator[None]:
    """Enter and leave an async context manager in one task of the loop.

    Raises:
        Exception: Entering or leaving raised it.
    """
    opened, decided, closing = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def keep() -> None:
        try:
            async with manager:
                opened.set()
                decided.set()
                await closing.wait()
        finally:
            decided.set()

    keeping = _Running(_loop(), keep, ())
    try:
        keeping.start()
        run(decided.wait)
        if not opened.is_set():
            keeping.result()
        yield
    finally:
        with suppress(RuntimeError):
            keeping.loop.asyncio.call_soon_threadsafe(closing.set)
        if keeping.ended.wait(GRACE):
            keeping.result()
        else:
            keeping.cancel()


@atexit.register
def stop() -> None:
    """End the loop and all code in it; the next use starts another loop."""
    if _current is not None:
        loop = _current
        _forget(loop)
        loop.stop()


def _started() -> _Loop:
    global _current
    with _lock:
        if _current is None or not _current.thread.is_alive():
            _current = _Loop()
        return _current


def _loop() -> _Loop:
    loop = _started()
    if threading.current_thread() is loop.thread:
        raise RuntimeError(
            "an async tool or reward called a function of aepo that waits for the event loop that it runs in: "
            "call it in a thread, await anyio.to_thread.run_sync(...)"
        )
    return loop


def _forget(loop: _Loop | None) -> None:
    global _current
    with _lock:
        if _current is loop:
            _current = None


def _after_fork() -> None:
    global _current, _lock
    _current, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows has none
    os.register_at_fork(after_in_child=_after_fork)


def _threads() -> int | None:
    """Torch's number of threads in this thread; None if torch is not loaded."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def _compute_with(threads: int | None) -> None:
    if threads is not None and sys.modules["torch"].get_num_threads() != threads:
        sys.modules["torch"].set_num_threads(threads)
