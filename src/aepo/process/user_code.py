"""Calls a user's code, a tool or a reward, so that it always ends with a result or one exception.

Such code may call `sys.exit`, raise a `BaseException`, or go on after a cancellation. In an asyncio task the first
would end the event loop. After the others a path would disappear or wait for ever.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from aepo.process.own_thread import OwnThread

GRACE = 5.0
"""Seconds that async code has to end after a cancellation; then it is abandoned."""
LONGEST_LIST = 3
"""Most errors of an exception group in a message."""

_log = logging.getLogger(__name__)


class NotAnException(Exception):
    """A user's code raised a `BaseException`: `SystemExit`, a cancellation of its own, or the like.

    It is also raised for `StopIteration`, which cannot leave a coroutine.

    Attributes:
        original: The exception that it raised.
    """

    def __init__(self, original: BaseException) -> None:
        """Keep the original exception."""
        super().__init__(told(original))
        self.original = original


async def call(function: Callable[[], Any], inline: bool = False, thread: OwnThread | None = None) -> Any:
    """Call `function` and return its result.

    An async function runs in its own task. It is cancelled with the caller, and abandoned if it goes on for more
    than `GRACE` seconds. A sync function runs in a thread, which cannot be stopped; it is abandoned at once if the
    caller is cancelled. An awaitable that it returns is awaited.

    Args:
        function: A function without arguments; use `functools.partial`.
        inline: Call a sync function in this thread instead.
        thread: Call a sync function in that thread instead.

    Raises:
        NotAnException: It raised a `BaseException`. A `KeyboardInterrupt` in the main thread is passed on, because it
            may be a real Ctrl-C.
        Exception: The function raised it.
    """
    if inline or inspect.iscoroutinefunction(function):
        value = _value(_tried(function))
    elif thread is not None:
        value = _value(await thread.run(partial(_tried, function)))
    else:
        # Callers limit their calls themselves. The shared default limiter would make unrelated calls wait.
        value = _value(await anyio.to_thread.run_sync(_tried, function, abandon_on_cancel=True, limiter=_alone()))
    return await _awaited(value) if inspect.isawaitable(value) else value


def original(error: Exception) -> BaseException:
    """The exception that a user's code raised, given the one that `call` raised."""
    return error.original if isinstance(error, NotAnException) else error


def told(error: BaseException) -> str:
    """The class and message of an error on one line; for a group, those of its first errors."""
    if isinstance(error, BaseExceptionGroup):
        inner = _leaves(error)
        named = "; ".join(told(one) for one in inner[:LONGEST_LIST])
        more = f"; and {len(inner) - LONGEST_LIST} more" if len(inner) > LONGEST_LIST else ""
        return f"{type(error).__name__} of {named}{more}"
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "its text cannot be read"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def with_notes(error: BaseException) -> str:
    """The message of an error and its notes on one line; for an error without a message, and for an exit, its class."""
    said = str(error).strip() if isinstance(error, Exception) else told(error)
    lines = [said or type(error).__name__, *getattr(error, "__notes__", [])]
    return " | ".join(" ".join(line.split()) for line in lines)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    nested = (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one] for one in group.exceptions)
    return [one for several in nested for one in several]


def _tried(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """The result and the error. The error is returned, because raised here it could end the thread or the loop."""
    try:
        return function(), None
    except BaseException as error:
        _let_ctrl_c_through(error)
        return None, error


def _value(outcome: tuple[Any, BaseException | None]) -> Any:
    value, error = outcome
    if error is None:
        return value
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        raise error
    raise NotAnException(error) from error


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    async def outcome() -> tuple[Any, BaseException | None]:
        try:
            return await awaitable, None
        except BaseException as error:
            _let_ctrl_c_through(error)
            return None, error

    task = asyncio.create_task(outcome())
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task}, timeout=GRACE)
        if task.cancelled() and inspect.iscoroutine(awaitable):
            awaitable.close()  # the function has not begun
        if not task.done():
            _log.warning("%s went on after it was cancelled: it is left behind", _name(awaitable))
        raise
    return _value(task.result())


def _let_ctrl_c_through(error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


def _name(awaitable: Awaitable[Any]) -> str:
    return getattr(awaitable, "__qualname__", type(awaitable).__name__)


def _alone() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(1)
