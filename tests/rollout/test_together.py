"""The calls of one turn: at the same time, answered in their order, the first failure stops the others."""

from __future__ import annotations

import threading
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aepo.rollout.together import run_together
from aepo.tools.base import Tool, ToolBug, ToolMisconfigured, tool
from aepo.tools.cache.layer import CacheMode, cached, trajectory
from aepo.tools.cache.store import Store
from aepo.types import Kind, Node, ToolCall, ToolError, ToolResult, ToolStatus, TrajectoryTree


def asked(*words: str) -> list[ToolCall]:
    return [ToolCall("ask", {"word": word}) for word in words]


class Meeting:
    """A tool whose calls wait until `size` of them have come; then they leave in the opposite order."""

    def __init__(self, size: int) -> None:
        self.size, self.came, self.left = size, [], []  # type: ignore[var-annotated]
        self.cancelled: list[str] = []
        self.gone = [anyio.Event() for _ in range(size)]

        @tool(timeout=1e9)
        async def ask(word: str) -> str:
            """Ask.

            Args:
                word: What.
            """
            place = len(self.came)
            self.came.append(word)
            try:
                if place + 1 < self.size:
                    await self.gone[place + 1].wait()
            except BaseException:
                self.cancelled.append(word)
                raise
            self.left.append(word)
            self.gone[place].set()
            return f"{word} for {trajectory.get()}"

        self.tool: Tool = ask


def test_they_run_at_the_same_time_and_are_answered_in_their_order() -> None:
    async def main() -> None:
        meeting = Meeting(4)
        trajectory.set("t7")
        results = await run_together({"ask": meeting.tool}, asked("a", "b", "c", "d"), [])
        assert (meeting.came, meeting.left) == (["a", "b", "c", "d"], ["d", "c", "b", "a"])
        assert [result.text for result in results] == ["a for t7", "b for t7", "c for t7", "d for t7"]

    anyio.run(main)


def test_plain_functions_run_in_threads_at_the_same_time() -> None:
    everybody = threading.Barrier(3)

    @tool
    def ask(word: str) -> str:
        """Ask.

        Args:
            word: What.
        """
        everybody.wait(timeout=60)
        return word

    results = anyio.run(run_together, {"ask": ask}, asked("a", "b", "c"), [])
    assert [result.text for result in results] == ["a", "b", "c"]


def test_one_that_cannot_be_run_gets_its_own_error_and_the_others_run() -> None:
    async def main() -> None:
        calls = [
            *asked("a"),
            ToolCall("", error="the tool call is not valid JSON"),
            ToolCall("tell"),
            ToolCall("ask", {"who": "b"}),
            *asked("c"),
        ]
        results = await run_together({"ask": Meeting(2).tool}, calls, [])
        assert [result.status is ToolStatus.OK for result in results] == [True, False, False, False, True]
        told = ("not valid JSON", "unknown tool 'tell'", "who: no such argument")
        assert all(words in result.text for words, result in zip(told, results[1:4], strict=True))

    anyio.run(main)


@pytest.mark.parametrize("error", [KeyError("gone"), ToolMisconfigured("set the key")])
def test_the_first_failure_stops_the_others_and_leaves_as_itself(error: Exception) -> None:
    async def main() -> None:
        meeting = Meeting(3)

        @tool
        async def fail(word: str) -> str:
            """Fail.

            Args:
                word: What.
            """
            raise error

        with pytest.raises(ToolMisconfigured if isinstance(error, ToolMisconfigured) else ToolBug) as caught:
            calls = [*asked("a", "b"), ToolCall("fail", {"word": "c"})]
            await run_together({"ask": meeting.tool, "fail": fail}, calls, [])
        assert error in (caught.value, caught.value.__cause__)
        assert (sorted(meeting.cancelled), meeting.left) == (["a", "b"], [])

    anyio.run(main)


def test_a_recorded_turn_is_replayed_call_by_call(tmp_path: Path) -> None:
    """Equal calls of a tool that is not pure have results of their own, in the order of the calls."""

    async def run(mode: CacheMode, asked_tool: Tool) -> list[str]:
        store = Store(tmp_path / "tools.sqlite", wait=0.05, read_only=mode == "replay")
        store.open()
        if mode == "record":
            store.begin_recording("run", False)
        trajectory.set("t7")
        calls = [*asked("a", "a", "b"), ToolCall("", error="not valid JSON"), *asked("a")]
        results = await run_together({"ask": cached(asked_tool, store, mode)}, calls, [])
        store.close()
        return [result.text for result in results]

    heard: list[str] = []

    @tool
    async def ask(word: str) -> str:
        """Ask.

        Args:
            word: What.
        """
        assert len(heard) < 4, "the tool runs in a replay"
        heard.append(word)
        await checkpoint()
        return f"{word} {len(heard)} {heard.count(word)}"

    recorded = anyio.run(run, "record", ask)
    assert len(set(recorded)) == 5 and len(heard) == 4
    assert anyio.run(run, "replay", ask) == recorded


def test_a_bug_that_is_told_leaves_the_others_alone() -> None:
    async def main() -> None:
        @tool
        def ask(word: str) -> float:
            """Ask.

            Args:
                word: What.
            """
            return 1 / int(word)

        results = await run_together({"ask": ask}, asked("2", "0", "1"), [], on_bug="tell")
        assert [result.text for result in results] == ["0.5", "ask failed inside: ZeroDivisionError", "1.0"]

    anyio.run(main)


def test_equal_calls_of_a_turn_may_share_the_first_success() -> None:
    ran: list[str] = []

    @tool(pure=True)
    async def ask(word: str) -> str:
        """Ask.

        Args:
            word: What.
        """
        ran.append(word)
        if word == "odd" and ran.count("odd") == 1:
            raise ToolError("busy")
        return f"{word} {len(ran)}"

    def walk() -> list[Node]:
        tree = TrajectoryTree()
        tree.add(None, Kind.PROMPT, [1], 0)
        tree.add(0, Kind.POLICY, [2], 0).calls = tuple(asked("x", "old"))
        tree.add(1, Kind.OBSERVATION, [3], 0).results = (ToolResult("x"), ToolResult("from before"))
        return tree.walk(tree.add(2, Kind.POLICY, [4], 0).id)

    async def main() -> None:
        calls = asked("a", "odd", "a", "odd", "old", "odd", "a")
        results = await run_together({"ask": ask}, calls, walk(), repeat="answer")
        assert sorted(ran) == ["a", "odd", "odd"]
        assert [result.repeated for result in results] == [False, False, True, False, True, True, True]
        assert results[0].text == results[2].text == results[6].text
        assert (results[1].text, results[3].text, results[4].text) == ("busy", results[5].text, "from before")
        ran.clear()
        results = await run_together({"ask": ask}, calls, walk(), repeat="run")
        assert len(ran) == 7 and not any(result.repeated for result in results)

    anyio.run(main)
