"""What a tool answers, and how often it runs, live, cached, recorded and replayed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.tools.base import Tool, ToolBug, ToolTimeout, tool
from aepo.tools.cache.layer import CacheMode, ReplayError, cached, key_of, trajectory
from aepo.tools.cache.store import CacheUnavailable, Store
from aepo.tools.counts import counting, taken
from aepo.types import ToolError, ToolResult, ToolStatus


class Service:
    """Answers every call with its number, so that no two answers are equal."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: Exception | None = None

    def tool(self, pure: bool = True, version: str = "1") -> Tool:
        @tool(pure=pure, version=version)
        async def ask(query: str, top_k: int = 3) -> str:
            """Ask.

            Args:
                query: What.
                top_k: How many.
            """
            self.asked.append(query)
            await anyio.lowlevel.checkpoint()
            if self.failure is not None:
                raise self.failure
            return f"{query} {len(self.asked)}"

        return ask


@pytest.fixture
def service() -> Service:
    return Service()


Opened = Callable[..., Store]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens the file of this test for a mode; a recording is a new one each time unless it goes on."""
    stores: list[Store] = []

    def store(mode: CacheMode, again: bool = False) -> Store:
        made = Store(tmp_path / "tools.sqlite", wait=0.05, read_only=mode == "replay")
        made.open()
        if mode == "record":
            made.begin_recording("run", again)
        stores.append(made)
        return made

    yield store
    for made in stores:
        try:
            made.close()
        except CacheUnavailable:
            continue


def ask(made: Tool, query: str = "a", **more: Any) -> ToolResult:
    return anyio.run(made.call, {"query": query, **more})


def ask_together(made: Tool, queries: list[str]) -> list[str]:
    """Texts of calls that are in flight at once, in order."""
    texts = [""] * len(queries)

    async def one(number: int, query: str) -> None:
        texts[number] = (await made.call({"query": query})).text

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number, query in enumerate(queries):
                tasks.start_soon(one, number, query)

    anyio.run(main)
    return texts


def test_live_is_the_tool_itself(service: Service, tmp_path: Path) -> None:
    made = service.tool()
    assert cached(made, Store(tmp_path / "never"), "live") is made


def test_a_cached_success_is_answered_from_the_file_in_this_run_and_the_next(service: Service, opened: Opened) -> None:
    for _ in range(2):
        made = cached(service.tool(), opened("cached"), "cached")
        assert [ask(made).text, ask(made).text] == ["a 1", "a 1"]
    assert ask(made, "b").text == "b 2"
    assert service.asked == ["a", "b"]


def test_arguments_are_equal_that_mean_the_same(service: Service, opened: Opened) -> None:
    made = cached(service.tool(), opened("cached"), "cached")
    calls = [{"query": "1"}, {"query": 1}, {"top_k": "3", "query": "1"}, {"query": "1", "top_k": 3}]
    assert {anyio.run(made.call, call).text for call in calls} == {"1 1"}
    assert ask(made, "1", top_k=4).text == "1 2"
    assert ask(made, "1 ").text == "1  3"


@settings(deadline=None)
@given(st.lists(st.text(max_size=3), min_size=2, max_size=2, unique=True), st.integers(), st.integers())
def test_other_arguments_versions_and_tools_have_other_keys(queries: list[str], one: int, two: int) -> None:
    made = Service().tool()
    first, second = (made.canonical({"query": query}) for query in queries)
    assert key_of(made, first) != key_of(made, second)
    assert key_of(made, first) != key_of(replace(made, version="2"), first)
    assert key_of(made, first) != key_of(replace(made, name="other"), first)
    assert key_of(made, first) != key_of(made, first, "scope")
    numbers = [made.canonical({"query": queries[0], "top_k": number}) for number in (one, two)]
    assert (numbers[0] == numbers[1]) is (one == two)


def test_another_version_of_the_tool_is_asked_anew(service: Service, opened: Opened) -> None:
    store = opened("cached")
    assert ask(cached(service.tool(version="1"), store, "cached")).text == "a 1"
    assert ask(cached(service.tool(version="2"), store, "cached")).text == "a 2"
    assert ask(cached(service.tool(version="1"), store, "cached")).text == "a 1"


@pytest.mark.parametrize("failure", [ToolError("down"), ToolTimeout("slow")])
def test_failures_are_never_cached(service: Service, opened: Opened, failure: Exception) -> None:
    made = cached(service.tool(), opened("cached"), "cached")
    service.failure = failure
    assert ask(made).status is not ToolStatus.OK
    service.failure = None
    assert ask(made).text == "a 2", "it is asked again"
    assert ask(made).text == "a 2"


@pytest.mark.parametrize("mode", ["cached", "record"])
def test_a_bug_and_bad_arguments_are_never_kept(service: Service, opened: Opened, mode: CacheMode) -> None:
    store = opened(mode)
    made = cached(service.tool(), store, mode)
    service.failure = KeyError("a")
    with pytest.raises(ToolBug):
        ask(made)
    assert ask(made, top_k="many").status is ToolStatus.BAD_ARGUMENTS
    assert list(store.entries()) == []


def test_a_timeout_from_outside_is_not_cached_and_is_recorded(opened: Opened) -> None:
    @tool(timeout=0.01, pure=True)
    async def hang(query: str) -> str:
        """Wait.

        Args:
            query: For what.
        """
        await anyio.sleep_forever()
        return query

    store = opened("cached")
    assert ask(cached(hang, store, "cached")).status is ToolStatus.TIMEOUT and list(store.entries()) == []
    said = ask(cached(hang, opened("record"), "record"))
    assert said == ask(cached(hang, opened("replay"), "replay")) and said.status is ToolStatus.TIMEOUT


def test_a_recording_asks_each_call_once_and_its_replay_says_the_same_without_the_tool(
    service: Service, opened: Opened
) -> None:
    ask(cached(service.tool(), opened("cached"), "cached"))
    recorder = cached(service.tool(), opened("record"), "record")
    recorded = [ask(recorder, query) for query in "aaba"]
    service.failure = ToolError("down")
    recorded += [ask(recorder, query) for query in "cb"]
    service.failure = None
    recorded += [ask(recorder, "c")]
    assert [result.text for result in recorded] == ["a 2", "a 2", "b 3", "a 2", "down", "b 3", "down"]
    service.asked.clear()
    service.failure = AssertionError("the tool runs")
    player = cached(service.tool(), opened("replay"), "replay")
    assert [ask(player, query) for query in "aabacbc"] == recorded
    assert service.asked == []


def test_a_recorded_failure_does_not_answer_a_cached_call_and_is_left_for_its_replay(
    service: Service, opened: Opened
) -> None:
    service.failure = ToolError("down")
    ask(cached(service.tool(), opened("record"), "record"))
    service.failure = None
    made = cached(service.tool(), opened("cached"), "cached")
    assert [ask(made).text, ask(made).text] == ["a 2", "a 3"]
    assert ask(cached(service.tool(), opened("replay"), "replay")).text == "down"


def test_a_resumed_recording_keeps_its_answers_and_another_one_asks_anew(service: Service, opened: Opened) -> None:
    assert ask(cached(service.tool(), opened("record"), "record")).text == "a 1"
    assert ask(cached(service.tool(), opened("record", again=True), "record")).text == "a 1"
    assert ask(cached(service.tool(), opened("record"), "record")).text == "a 2"


def test_a_replay_that_misses_names_tool_arguments_and_file(service: Service, opened: Opened) -> None:
    ask(cached(service.tool(version="2024"), opened("record"), "record"))
    store = opened("replay")
    with pytest.raises(ReplayError) as missed:
        ask(cached(service.tool(), store, "replay"), "é")
    line = f'replay: no result of ask {{"query": "é", "top_k": 3}} in {store.path}: record it with tools.mode=record'
    assert str(missed.value) == line
    with pytest.raises(ReplayError, match="the tool has version 1, the file has 2024"):
        ask(cached(service.tool(), store, "replay"))


def test_a_replay_of_a_file_that_is_damaged_stops(service: Service, opened: Opened) -> None:
    ask(cached(service.tool(), opened("record"), "record"))
    opened("cached").close()
    store = opened("replay")
    made = cached(service.tool(), store, "replay")
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (store.path.stat().st_size - 4096))
    with pytest.raises(ReplayError, match=r"cannot read tool cache .* a replay needs it"):
        ask(made)


@pytest.mark.parametrize("mode", ["cached", "record"])
def test_while_the_file_is_locked_tools_run_and_no_result_is_lost(
    service: Service, opened: Opened, mode: CacheMode
) -> None:
    store = opened(mode)
    made = cached(service.tool(), store, mode)
    other = sqlite3.connect(store.path, isolation_level=None)
    with counting() as counts:
        other.execute("BEGIN IMMEDIATE")
        assert [ask(made, query).text for query in "aba"] == ["a 1", "b 2", "a 1"], "what waits is found"
        other.close()
        assert ask(made, "c").text == "c 3"
    assert taken(counts) == {
        "tool/cache/hits": 1.0,
        "tool/cache/misses": 3.0,
        "tool/cache/stored": 1.0,
        "tool/cache/waiting": 2.0,
    }
    assert sorted(entry.text for entry in store.entries()) == ["a 1", "b 2", "c 3"]


def test_a_cache_that_takes_no_more_goes_on_and_a_recording_stops(
    service: Service, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aepo.tools.cache.store._MOST_WAITING", 0)
    for mode in ("cached", "record"):
        store = opened(mode)
        made = cached(service.tool(), store, mode)
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ask(made, f"{mode} first")
        with counting() as counts:
            if mode == "cached":
                assert ask(made, f"{mode} second").status is ToolStatus.OK
                assert taken(counts)["tool/cache/lost"] == 1.0
            else:
                with pytest.raises(CacheUnavailable, match="more results wait than memory should hold"):
                    ask(made, f"{mode} second")
        other.close()


@pytest.mark.parametrize("mode", ["cached", "record"])
def test_equal_calls_at_once_are_one_call(service: Service, opened: Opened, mode: CacheMode) -> None:
    made = cached(service.tool(), opened(mode), mode)
    with counting() as counts:
        assert len(set(ask_together(made, ["a"] * 8 + ["b"] * 8))) == 2
    assert sorted(service.asked) == ["a", "b"]
    assert taken(counts) == {"tool/cache/hits": 14.0, "tool/cache/misses": 2.0, "tool/cache/stored": 2.0}


def test_whoever_waits_for_a_call_that_is_cancelled_makes_it_itself(opened: Opened) -> None:
    started: list[int] = []

    @tool(pure=True)
    async def ask(query: str) -> str:
        """Ask.

        Args:
            query: What.
        """
        started.append(1)
        if len(started) == 1:
            await anyio.sleep_forever()
        return "answer"

    made = cached(ask, opened("cached"), "cached")
    results: list[ToolResult] = []

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def leader() -> None:
                with first:
                    await made.call({"query": "a"})

            async def follower() -> None:
                results.append(await made.call({"query": "a"}))

            tasks.start_soon(leader)
            while not started:
                await anyio.sleep(0.001)
            tasks.start_soon(follower)
            await anyio.lowlevel.checkpoint()
            first.cancel()

    anyio.run(main)
    assert [result.text for result in results] == ["answer"] and len(started) == 2


def test_a_tool_that_is_not_pure_runs_every_time_when_cached(service: Service, opened: Opened) -> None:
    made = cached(service.tool(pure=False), opened("cached"), "cached")
    assert [ask(made).text, ask(made).text] == ["a 1", "a 2"]


def test_a_tool_that_is_not_pure_is_replayed_call_by_call_of_each_trajectory(service: Service, opened: Opened) -> None:
    def run(made: Tool) -> list[str]:
        texts = []
        for name in ("t1", "t2", "t1"):
            token = trajectory.set(name)
            texts.append(ask(made).text)
            trajectory.reset(token)
        return texts

    assert run(cached(service.tool(pure=False), opened("record"), "record")) == ["a 1", "a 2", "a 3"]
    service.failure = AssertionError("the tool runs")
    made = cached(service.tool(pure=False), opened("replay"), "replay")
    assert run(made) == ["a 1", "a 2", "a 3"]
    with pytest.raises(ReplayError, match="the tool is not pure, so only the very same run finds its results"):
        run(made)


def test_a_recording_of_an_earlier_version_is_replayed(service: Service, opened: Opened, tmp_path: Path) -> None:
    """Rows as a run wrote them when a turn had one call."""
    rows = [
        ("8b2583cce04d2eab904cf84ad2c617f65ea24f830e6c1158a4b030dd35ff8127", "5ddfdf8237e95bd4#1", "ok", "da"),
        ("1d3174bdda70537756c98c33156fd7dfcd00259df0df0ea8d8b09aef7ffafaed", "dc4139c542a7ef56#1", "ok", "ea"),
    ]
    opened("record").close()
    with sqlite3.connect(tmp_path / "tools.sqlite") as file:
        insert = "INSERT INTO results VALUES (?, 'search', '1', '{\"query\": \"a\"}', ?, ?, ?, 0.0003, 1796013319.4, 1)"
        file.executemany(insert, rows)

    @tool
    async def search(query: str) -> str:
        """Search.

        Args:
            query: What.
        """
        raise AssertionError("the tool runs")

    player = cached(search, opened("replay"), "replay")
    for name, text in (("dc4139c542a7ef56", "ea"), ("5ddfdf8237e95bd4", "da")):
        token = trajectory.set(name)
        assert ask(player).text == text
        trajectory.reset(token)


def test_what_is_kept_is_not_cut_so_that_the_limit_may_change(service: Service, opened: Opened) -> None:
    short = replace(service.tool(), max_characters=2)
    assert ask(cached(short, opened("cached"), "cached"), "abcdef").text == "ab\n[cut: 6 more characters]"
    assert ask(cached(service.tool(), opened("cached"), "cached"), "abcdef").text == "abcdef 1"


def test_half_a_surrogate_pair_in_arguments_is_kept_and_found(service: Service, opened: Opened) -> None:
    made = cached(service.tool(), opened("record"), "record")
    assert ask(made, "\ud800").text == ask(made, "\ud800").text == "? 1"
    assert ask(made, "\udc00").text == "? 2"


def test_the_event_loop_goes_on_while_the_file_is_locked(service: Service, opened: Opened) -> None:
    store = opened("cached")
    made = cached(service.tool(), store, "cached")
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    store.wait = 60.0
    released = threading.Event()

    async def release() -> None:
        # Runs only if the call that waits for the lock leaves the loop alone.
        while not service.asked:
            await anyio.sleep(0.001)
        other.close()
        released.set()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(release)
            assert (await made.call({"query": "a"})).text == "a 1"

    anyio.run(main)
    assert released.is_set()
