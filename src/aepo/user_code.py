"""Calling what a user wrote, a tool or a reward: whatever it does, it gives a result or one exception, and it ends.

Code that is not ours may call `sys.exit`, raise what is no `Exception`, or go on after it was cancelled. In a task of
asyncio the first would end the event loop, and the others would let a path disappear or wait for ever.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread

GRACE = 5.0
"""Seconds that async code has to end after it was cancelled; then it is left behind."""
LONGEST_LIST = 3
"""Errors of a group that are told."""

_log = logging.getLogger(__name__)


class NotAnException(Exception):
    """Code of a user raised what is no `Exception`: `SystemExit`, a cancellation that nobody asked for, or the like.

    Or it raised `StopIteration`, which cannot leave a coroutine.

    Attributes:
        original: What it raised.
    """

    def __init__(self, original: BaseException) -> None:
        """Keep it."""
        super().__init__(told(original))
        self.original = original


async def call(function: Callable[[], Any], inline: bool = False) -> Any:
    """The result of `function`.

    An async function runs in a task of its own. It is cancelled if the caller is, and left behind after `GRACE` seconds
    if it goes on. A sync function runs in a thread, where nothing can stop it: if the caller is cancelled, it is left
    behind at once. An awaitable that it returns is awaited.

    Args:
        function: Without arguments; `functools.partial` binds them.
        inline: Call a sync function on the spot instead.

    Raises:
        NotAnException: It raised something else than an `Exception`. A `KeyboardInterrupt` is one too, except in the
            main thread, where it may be a real Ctrl-C.
        Exception: Whatever it raises.
    """
    if inline or inspect.iscoroutinefunction(function):
        value = _value(_tried(function))
    else:
        # Its own limiter: whoever calls has counted already, and the shared default would couple unrelated calls.
        value = _value(await anyio.to_thread.run_sync(_tried, function, abandon_on_cancel=True, limiter=_alone()))
    return await _awaited(value) if inspect.isawaitable(value) else value


def original(error: Exception) -> BaseException:
    """What a user's code really raised, given what `call` did."""
    return error.original if isinstance(error, NotAnException) else error


def told(error: BaseException) -> str:
    """Class and words of an error on one line; of a group, those of its first ones."""
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


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    nested = (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one] for one in group.exceptions)
    return [one for several in nested for one in several]


def _tried(function: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Result and error; an error that were raised here could end a thread or a loop, or be taken for another's."""
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
            awaitable.close()  # it had not begun
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
