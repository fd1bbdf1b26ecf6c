"""One loop for all that is asynchronous: what belongs to it lasts, Ctrl-C ends what runs there, nothing blocks it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest
import torch

from aepo.process import event_loop


async def where() -> int:
    return id(asyncio.get_running_loop())


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(event_loop, "GRACE", 0.2)
    yield


def test_everybody_gets_the_same_loop_from_any_thread_and_inside_of_running_loops() -> None:
    async def inside() -> int:
        return event_loop.run(where)

    found = [event_loop.run(where), asyncio.run(inside())]
    thread = threading.Thread(target=lambda: found.append(event_loop.run(where)))
    thread.start()
    thread.join()
    assert len(set(found)) == 1


def test_a_lock_that_is_kept_works_in_every_run() -> None:
    lock = asyncio.Lock()

    async def twice() -> None:
        async def hold() -> None:
            async with lock:
                await asyncio.sleep(0)

        await asyncio.gather(hold(), hold())

    for _ in range(3):
        event_loop.run(twice)


def test_what_a_function_raises_comes_out_as_it_is() -> None:
    async def fails() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        event_loop.run(fails)


def test_it_computes_with_as_many_threads_as_its_caller() -> None:
    async def threads() -> int:
        return torch.get_num_threads()

    for count in (1, 2, 1):
        torch.set_num_threads(count)
        assert event_loop.run(threads) == count


def test_ctrl_c_cancels_what_runs_and_lets_it_clean_up(interruptible: None) -> None:
    story: list[str] = []

    async def waits() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0)
            story.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        event_loop.run(waits)
    assert story == ["cleaned up"] and event_loop.run(where)


def test_ctrl_c_may_ask_for_an_early_end_instead(interruptible: None) -> None:
    asked = asyncio.Event()

    async def until_asked() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        await asked.wait()
        return "what there was"

    assert event_loop.run(until_asked, interrupted=asked.set) == "what there was"


@pytest.mark.usefixtures("interruptible", "short_grace")
def test_a_loop_that_is_blocked_is_left_behind() -> None:
    free = threading.Event()

    async def blocks() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        free.wait()

    before = event_loop.run(where)
    with pytest.raises(KeyboardInterrupt):
        event_loop.run(blocks)
    assert event_loop.run(where) != before
    free.set()


def test_what_ends_the_loop_is_told_to_who_waits_and_the_next_one_finds_another() -> None:
    async def leaves() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exits)

    async def exits() -> None:
        sys.exit(7)

    with pytest.raises(SystemExit, match="7"):
        event_loop.run(leaves)
    assert event_loop.run(where)


def test_who_waits_for_the_loop_in_the_loop_is_told_so() -> None:
    async def waits() -> int:
        return event_loop.run(where)

    async def in_a_thread() -> int:
        return await anyio.to_thread.run_sync(event_loop.run, where)

    with pytest.raises(RuntimeError, match="call it in a thread"):
        event_loop.run(waits)
    assert event_loop.run(in_a_thread) == event_loop.run(where)


def test_a_context_is_kept_open_in_one_task_and_its_failure_is_told() -> None:
    story: list[object] = []

    @asynccontextmanager
    async def context(fails: bool) -> AsyncIterator[None]:
        if fails:
            raise LookupError("not there")
        story.append(asyncio.current_task())
        yield
        story.append(asyncio.current_task())

    with event_loop.entered(context(False)):
        assert len(story) == 1 and event_loop.run(where)
    assert story[0] is story[1]
    with pytest.raises(LookupError, match="not there"), event_loop.entered(context(True)):
        story.append("entered")
    assert len(story) == 2


FORKED = """
import os
from aepo.process import event_loop
async def number(): return 5
assert event_loop.run(number) == 5
child = os.fork()
assert event_loop.run(number) == 5
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
HANGING = """
import threading
import anyio
from aepo.process import event_loop, user_code
async def left():
    with anyio.move_on_after(0.1):
        await user_code.call(threading.Event().wait)
event_loop.run(left)
print("done")
"""


@pytest.mark.parametrize("program", [FORKED, HANGING], ids=["forked", "a thread that never returns"])
def test_a_process_ends_whatever_it_left_behind(program: str) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_belongs_to_the_loop_is_awaited_from_any_loop_and_cancelled_with_the_caller() -> None:
    ended = threading.Event()

    async def where() -> str:
        return threading.current_thread().name

    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def caller() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await event_loop.hosted(endless)
        return await event_loop.hosted(where)

    assert asyncio.run(caller()) == event_loop.run(event_loop.hosted, where) == event_loop.run(where)
    assert ended.wait(10)
