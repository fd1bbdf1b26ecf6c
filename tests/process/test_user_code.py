"""What a user's code does, it does to itself: a result or one exception comes out, and in time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aepo.process import event_loop, user_code
from aepo.tools.base import ToolBug, run_call, tool
from aepo.types import ToolCall, ToolStatus


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


RAISED: list[BaseException] = [
    ValueError("plain"),
    StopIteration("sync only"),
    SystemExit(2),
    KeyboardInterrupt("mine"),
    GeneratorExit(),
    asyncio.CancelledError("mine"),
    BaseException("bare"),
    ExceptionGroup("several", [ValueError("one"), ExceptionGroup("more", [OSError("two"), KeyError("three")])]),
    BaseExceptionGroup("several", [SystemExit(3), ValueError("one")]),
    Unreadable(),
]
WAYS = ["thread", "inline", "async", "awaitable of a sync function"]


def raising(error: BaseException, way: str) -> Callable[[], Any]:
    def sync() -> None:
        raise error

    async def coroutine() -> None:
        await asyncio.sleep(0)
        raise error

    return coroutine if way == "async" else sync if way != WAYS[-1] else lambda: coroutine()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_is_raised_comes_out_as_one_exception_and_the_loop_goes_on(error: BaseException, way: str) -> None:
    async def main() -> Exception:
        with pytest.raises(Exception) as caught:
            await user_code.call(raising(error, way), inline=way == "inline")
        await anyio.sleep(0)
        return caught.value

    found = event_loop.run(main)
    if isinstance(error, StopIteration) and "a" in way[:1]:  # Python itself makes another one of it
        assert isinstance(found, RuntimeError)
    else:
        assert user_code.original(found) is error
        assert (found is error) == (isinstance(error, Exception) and not isinstance(error, StopIteration))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_of_a_tool_it_is_a_bug_and_the_model_may_be_told_its_class(error: BaseException, way: str) -> None:
    function = raising(error, way)
    if way == "async":

        @tool(name="ask")
        async def ask() -> None:
            """Ask."""
            await function()

    else:

        @tool(name="ask", inline=way == "inline")
        def ask() -> Any:
            """Ask."""
            return function()

    with pytest.raises(ToolBug) as bug:
        event_loop.run(run_call, {"ask": ask}, ToolCall("ask"))
    assert str(bug.value).startswith("tool ask raised ") and "\n" not in str(bug.value)
    told = event_loop.run(run_call, {"ask": ask}, ToolCall("ask"), "tell")
    assert told.status is ToolStatus.BUG and type(bug.value.original).__name__ in told.text


def test_several_errors_are_told_in_one_line() -> None:
    group = ExceptionGroup(
        "x", [ValueError("one\nline"), ExceptionGroup("y", [OSError("two"), KeyError(3), KeyError(4)])]
    )
    assert user_code.told(group) == "ExceptionGroup of ValueError: one line; OSError: two; KeyError: 3; and 1 more"
    assert user_code.told(SystemExit()) == "SystemExit"
    assert user_code.told(Unreadable()) == "Unreadable: its text cannot be read"


@pytest.mark.parametrize("result", [5, None])
def test_what_is_returned_is_given_back_sync_or_async(result: object) -> None:
    async def later() -> object:
        await anyio.sleep(0)
        return result

    def at_once() -> object:
        return result

    for function in (later, at_once, lambda: later()):
        assert event_loop.run(user_code.call, function) is result


def test_ours_is_no_cancellation_of_theirs() -> None:
    story: list[str] = []

    async def cleans_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            await asyncio.sleep(0)  # a cancelled task may still await something
            story.append("cleaned up")

    async def main() -> bool:
        with anyio.move_on_after(0.01) as scope:
            await user_code.call(cleans_up)
        return scope.cancelled_caught

    assert event_loop.run(main) and story == ["cleaned up"]


def test_code_that_goes_on_after_it_was_cancelled_is_left_behind_with_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(user_code, "GRACE", 0.05)
    free = threading.Event()

    @tool(name="ask", timeout=0.05)
    async def stubborn() -> str:
        """Ask."""
        while not free.is_set():
            try:
                await asyncio.sleep(0.01)
            except BaseException:
                continue
        return "late"

    with caplog.at_level(logging.WARNING):
        result = event_loop.run(run_call, {"ask": stubborn}, ToolCall("ask"))
    assert result.status is ToolStatus.TIMEOUT and "it is left behind" in caplog.text
    free.set()


def test_in_the_main_thread_an_interrupt_stays_one() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anyio.run(user_code.call, interrupted)


def test_a_cancelled_call_that_had_not_begun_leaves_nothing(recwarn: pytest.WarningsRecorder) -> None:
    async def nothing() -> None:
        raise AssertionError("begun")

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await user_code.call(nothing)

    event_loop.run(main)
    assert not [one for one in recwarn if "never awaited" in str(one.message)]
