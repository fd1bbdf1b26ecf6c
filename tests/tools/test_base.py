"""Calling a tool: arguments, results, errors, bugs, time, places."""

import threading
from typing import Any

import anyio
import pytest

from aepo.tools.base import ToolBug, run_call, tool
from aepo.types import ToolCall, ToolError, ToolResult, ToolStatus


@tool
def echo(word: str, times: int = 1) -> str:
    """Repeat a word.

    Args:
        word: The word.
        times: How often.
    """
    if word == "refuse":
        raise ToolError("no such word")
    if word == "break":
        raise KeyError(word)
    return word * times


def call(made: Any, **arguments: Any) -> ToolResult:
    return anyio.run(made.call, arguments)


def test_a_tool_is_called_with_coerced_arguments() -> None:
    assert call(echo, word="ab", times="2").text == "abab"
    assert call(echo, word=7).text == "7"
    assert echo.function("x", 3) == "xxx"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "bad arguments for echo: word: missing"),
        ({"word": "a", "size": 1}, "bad arguments for echo: size: no such argument"),
        ({"word": "a", "times": "many"}, "bad arguments for echo: times: Input should be a valid integer"),
        ({"word": ["a"]}, "bad arguments for echo: word: Input should be a valid string"),
    ],
)
def test_bad_arguments_are_told_and_nothing_is_executed(arguments: dict[str, Any], said: str) -> None:
    ran: list[str] = []

    @tool(name="echo")
    def spy(word: str, times: int = 1) -> str:
        """Repeat a word.

        Args:
            word: The word.
            times: How often.
        """
        ran.append(word)
        return word

    result = call(spy, **arguments)
    assert result.status is ToolStatus.BAD_ARGUMENTS and not result.executed
    assert result.text.startswith(said)
    assert ran == []


def test_a_value_outside_the_documented_choices_is_a_bad_argument() -> None:
    @tool
    def paint(color: str, size: int | None = None) -> str:
        """Paint.

        Args:
            color: A color. (choices: ["red", "blue"])
            size: A size.
        """
        return f"{color} {size}"

    assert call(paint, color="red", size=None).text == "red None"
    assert call(paint, color="green").text == "bad arguments for paint: color: one of red, blue"


def test_a_tool_is_still_the_function_that_it_was() -> None:
    @tool
    def double(number: int) -> int:
        """Double a number.

        Args:
            number: The number.
        """
        return 2 * number

    assert double(3) == double(number=3) == 6


def test_an_error_of_the_tool_is_told_to_the_model() -> None:
    assert call(echo, word="refuse").text == "no such word"
    assert call(echo, word="refuse").status is ToolStatus.ERROR


def test_any_other_exception_is_a_bug_that_keeps_its_cause() -> None:
    with pytest.raises(ToolBug, match="tool echo raised KeyError") as caught:
        call(echo, word="break")
    assert caught.value.tool == "echo" and caught.value.arguments == {"word": "break"}
    assert isinstance(caught.value.original, KeyError) and caught.value.__cause__ is caught.value.original


def test_a_sync_tool_that_hangs_times_out() -> None:
    release = threading.Event()

    @tool(timeout=0.05)
    def hang() -> str:
        """Wait."""
        release.wait(30)
        return "late"

    try:
        result = call(hang)
    finally:
        release.set()
    assert result.status is ToolStatus.TIMEOUT and result.text == "hang did not answer within 0.05 s"


def test_an_async_tool_that_hangs_times_out_and_is_cancelled() -> None:
    ended: list[str] = []

    @tool(timeout=0.05)
    async def hang() -> str:
        """Wait."""
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cancelled")

    assert call(hang).status is ToolStatus.TIMEOUT
    assert ended == ["cancelled"]


def test_a_timeout_error_inside_the_tool_is_a_bug_not_a_timeout() -> None:
    @tool
    async def broken() -> str:
        """Fail."""
        raise TimeoutError("socket")

    with pytest.raises(ToolBug):
        call(broken)


def test_no_more_calls_run_at_once_than_allowed_and_all_are_answered() -> None:
    running, most = 0, 0

    @tool(concurrency=3)
    async def count() -> str:
        """Count."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        running -= 1
        return "done"

    results: list[ToolResult] = []

    async def main() -> None:
        async def one() -> None:
            results.append(await count.call({}))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)

    anyio.run(main)
    anyio.run(main)  # a second event loop gets places of its own
    assert most == 3 and len(results) == 40 and all(r.text == "done" for r in results)


def test_256_calls_with_one_place_are_served_in_the_order_they_came() -> None:
    served: list[int] = []

    @tool(concurrency=1)
    async def serve(number: int) -> str:
        """Serve.

        Args:
            number: Whose turn it is.
        """
        await anyio.lowlevel.checkpoint()
        served.append(number)
        return str(number)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(256):
                tasks.start_soon(serve.call, {"number": number})

    anyio.run(main)
    assert served == list(range(256))


def test_waiting_for_a_place_does_not_count_against_the_timeout() -> None:
    gate = anyio.Event()
    started = 0

    @tool(concurrency=1, timeout=20)
    async def wait() -> str:
        """Wait."""
        nonlocal started
        started += 1
        await gate.wait()
        return "done"

    results: list[ToolResult] = []

    async def main() -> None:
        async def one() -> None:
            results.append(await wait.call({}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            assert started == 1
            gate.set()

    anyio.run(main)
    assert [r.text for r in results] == ["done", "done"]


def test_other_results_become_json_and_long_ones_are_cut_with_a_note() -> None:
    @tool(max_characters=10)
    def table(rows: int) -> list[dict[str, Any]]:
        """Make rows.

        Args:
            rows: How many.
        """
        return [{"é": i} for i in range(rows)]

    assert call(table, rows=1).text == '[{"é": 0}]'
    assert call(table, rows=2).text == '[{"é": 0},\n[cut: 10 more characters]'


def test_half_a_surrogate_pair_never_reaches_the_tokenizer() -> None:
    assert call(echo, word="a").text == "a"

    @tool
    def odd() -> str:
        """Return half a pair."""
        return "a\ud800"

    assert call(odd).text == "a?"


def test_an_unknown_tool_and_an_unreadable_call_name_the_known_tools() -> None:
    tools = {"echo": echo}
    unknown = anyio.run(run_call, tools, ToolCall("serch"))
    assert unknown == ToolResult("unknown tool 'serch'; known tools: echo", ToolStatus.BAD_ARGUMENTS)
    unreadable = anyio.run(run_call, tools, ToolCall("echo", error="arguments are not JSON"))
    assert unreadable.text == "arguments are not JSON; known tools: echo" and not unreadable.executed


def test_a_bug_stops_the_run_or_is_told_by_the_name_of_its_class_only() -> None:
    bug = ToolCall("echo", {"word": "break"})
    with pytest.raises(ToolBug):
        anyio.run(run_call, {"echo": echo}, bug, "stop")
    told = anyio.run(run_call, {"echo": echo}, bug, "tell")
    assert told.status is ToolStatus.BUG and told.text == "echo failed inside: KeyError"


@pytest.mark.parametrize("limit", ["timeout", "concurrency", "max_characters"])
def test_a_limit_that_is_not_positive_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match=f"tool function: {limit} is 0, must be positive"):

        @tool(**{limit: 0})
        def function() -> str:
            """Do nothing."""
            return ""


def test_an_inline_tool_runs_where_it_is_called_and_another_in_a_thread() -> None:
    def where() -> str:
        """Say which thread runs this."""
        return threading.current_thread().name

    async def ask() -> tuple[str, str, str]:
        here = threading.current_thread().name
        return here, (await tool(inline=True)(where).call({})).text, (await tool(where).call({})).text

    here, inline, threaded = anyio.run(ask)
    assert inline == here != threaded


def test_an_inline_tool_tells_the_model_and_reports_bugs_like_any_other() -> None:
    @tool(inline=True)
    def fail(how: str) -> str:
        """Fail.

        Args:
            how: In which way.
        """
        raise ToolError("not today") if how == "told" else KeyError(how)

    assert anyio.run(fail.call, {"how": "told"}).text == "not today"
    with pytest.raises(ToolBug):
        anyio.run(fail.call, {"how": "bug"})
