"""A Python session for each path: equal calls give equal texts, and nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import aepo
from aepo.environments.contract import EnvironmentLost
from aepo.environments.python import ForkingPythonSession, PythonSession, _ready, python_session
from aepo.tools.base import ToolLost
from aepo.tools.sandbox.base import SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.probe import processes_with
from aepo.tools.sandbox.supervised import readable
from tests.environments.worlds import rollout
from tests.rollout.toy import questions
from tests.tools.sandbox.test_conformance import held

CELLS = (
    "import random, collections\nx = [random.random() for _ in range(3)]\nx",
    "class A: pass\nA(), print, x.append",
    "def g():\n    yield from x\nit = g()\nnext(it)",
    "1 / 0",
    "open('notes.txt', 'w').write('kept')",
    "{str(n) for n in range(20)}, hash('a')",
    "next(it), open('notes.txt').read(), random.randint(0, 10 ** 9)",
    "x.append(len(x)); print(x)",
)


@pytest.fixture(autouse=True)
def contained() -> Iterator[None]:
    try:
        choose("bubblewrap")
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    yield
    for forks in (False, True):
        _ready(None, 2, forks).close()


async def opened(fork: str | None = None) -> PythonSession:
    world = python_session(fork=fork, timeout=20.0)()  # type: ignore[arg-type]
    await world.reset(seed=11)
    return world


@pytest.mark.parametrize("fork", [None, "process"])
def test_two_at_a_time_and_a_replay_read_the_same(fork: str | None) -> None:
    async def main() -> None:
        one, other, again = await opened(fork), await opened(fork), await opened(fork)
        texts = [(await one.python(cell), await other.python(cell)) for cell in CELLS]
        assert all(mine == its for mine, its in texts)
        assert [await again.python(cell) for cell in CELLS] == [mine for mine, _ in texts]
        assert "A object at 0x..." in texts[1][0] and "ZeroDivisionError" in texts[3][0]
        for world in (one, other, again):
            await world.close()

    anyio.run(main)


@pytest.mark.parametrize("at", range(1, len(CELLS)))
def test_a_snapshot_goes_on_as_a_replay_does(at: int) -> None:
    async def main() -> None:
        parent, replayed = await opened("process"), await opened()
        for cell in CELLS[:at]:
            await parent.python(cell)
            await replayed.python(cell)
        snapshot = await parent.snapshot()  # type: ignore[attr-defined]
        wanted = [await replayed.python(cell) for cell in CELLS[at:]]
        await parent.python("x = it = None\nopen('notes.txt', 'w').write('of the parent')")
        for _ in range(2):
            branch = python_session(fork="process", timeout=20.0)()
            await branch.restore(snapshot)  # type: ignore[attr-defined]
            assert [await branch.python(cell) for cell in CELLS[at:]] == wanted
            await branch.close()
        for world in (parent, replayed):
            await world.close()
        del snapshot

    anyio.run(main)


def test_a_cell_that_does_not_end_is_told_and_the_world_is_lost() -> None:
    async def main() -> None:
        for code, told in (
            ("while True: pass", "stopped after 0.5 s"),
            ("import os\nos._exit(1)", "session has ended"),
        ):
            world = PythonSession(timeout=0.5)
            await world.reset(seed=1)
            with pytest.raises(ToolLost, match=told):
                await world.python(code)
            with pytest.raises(EnvironmentLost):
                await world.python("1")
            await world.close()

    anyio.run(main)


def test_a_sandbox_that_is_killed_is_lost_and_one_killed_while_it_waits_is_not_given_out() -> None:
    async def main() -> None:
        world = await opened()
        marker = f"lost-{os.getpid()}"
        await world.python(f"import os\nif os.fork() == 0: os.execv('/bin/sleep', [{marker!r}, '60'])")
        boxes = [box.result() for box in world._ready()._waiting] + [world._interpreter._box]  # type: ignore[union-attr]
        for box in boxes:
            box.running.process.kill()
            assert readable(box.running.held, 10)
        with pytest.raises(EnvironmentLost):
            await world.python("1")
        await world.close()
        assert processes_with(marker, 5) == []
        world = await opened()
        assert await world.python("1") == "1"
        await world.close()

    anyio.run(main)


CELL = """
import random
total = globals().get("total", 0) + {number}
(total, random.random())
"""


class Asked(PythonSession):
    """Each call of the toy policy is a cell."""

    async def ask(self, what: str) -> str:
        """Run a cell.

        Args:
            what: A number comes of it.
        """
        return await self.python(CELL.format(number=sum(map(ord, what))))


class ForkingAsked(Asked, ForkingPythonSession):
    """The same with forks."""


def test_a_rollout_that_replays_has_the_trees_of_one_that_forks() -> None:
    replayed, counts = rollout(aepo.environment(Asked, max_open=8), asked=questions(2))
    forked, kept = rollout(aepo.environment(ForkingAsked, max_open=8), asked=questions(2))
    assert replayed == forked
    assert counts["replayed_calls"] > 0 and kept["restored"] > 0 and "refused" not in {*counts, *kept}
    assert counts["opened"] == counts["closed"] and kept["opened"] == kept["closed"]


class Sorted(PythonSession):
    """Sort the list `x`."""

    async def reset(self, seed: int, rows: list[int]) -> str:  # type: ignore[override]
        await super().reset(seed, setup=f"x = {rows}")
        return "The list x is there."

    async def get_reward(self) -> float:
        return float((await self._run("assert x == sorted(x)")).status is SandboxStatus.OK)


def test_a_subclass_prepares_the_session_and_checks_it_at_the_end() -> None:
    async def main() -> None:
        world = Sorted(timeout=20.0)
        assert await world.reset(seed=1, rows=[3, 1, 2]) == "The list x is there."
        assert await world.get_reward() == 0.0
        assert await world.python("x.sort()\nx") == "[1, 2, 3]"
        assert await world.get_reward() == 1.0
        await world.close()
        with pytest.raises(ValueError, match="the sample's setup failed: NameError"):
            await PythonSession().reset(seed=1, setup="no")

    anyio.run(main)


@pytest.mark.parametrize("fork", [None, "process"])
def test_nothing_is_left_after_storms_of_cancelled_sessions(fork: str | None) -> None:
    marker = f"storm-{os.getpid()}-{fork}"
    code = f"import os\nif os.fork() == 0: os.execv('/bin/sleep', [{marker!r}, '60'])\nwhile True: pass"

    async def path(cell: str) -> None:
        world = python_session(fork=fork, timeout=60.0)()  # type: ignore[arg-type]
        try:
            await world.reset(seed=1)
            if fork:
                kept = await world.snapshot()  # type: ignore[attr-defined]
                await world.restore(kept)  # type: ignore[attr-defined]
            await world.python(cell)
        finally:
            await world.close()

    async def storm(number: int) -> None:
        tasks = [asyncio.create_task(path(code)) for _ in range(6)]
        await asyncio.sleep(0.1 * number)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def rest() -> tuple[set[int], int, list[str]]:
        gc.collect()
        _ready(None, 2, bool(fork)).close()
        return held()

    asyncio.run(path("1"))
    before = rest()
    for number in range(6):
        asyncio.run(storm(number))
    last = time.monotonic() + 10
    while (after := rest()) != before and time.monotonic() < last:
        time.sleep(0.05)
    assert (after[0] - before[0], after[2]) == (set(), before[2])
    assert after[1] <= before[1]
    assert processes_with(marker, 5) == []


FIRST = """
import aepo
from aepo.environments.python import python_session
if __name__ == "__main__":
    world = aepo.environment(python_session(timeout=60), reset_timeout=600, sandboxed=True)
    print(aepo.check_environment(world, [aepo.Sample("Run cells.", metadata={"setup": "x = 1"})], calls=2))
"""


def test_the_first_session_of_a_process_opens_on_the_event_loop_of_a_rollout() -> None:
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", FIRST], env=variables, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr


HOST = """
import anyio, sys
from aepo.environments.python import python_session
async def main():
    for fork in (None, "process"):
        world = python_session(fork=fork, timeout=600)()
        await world.reset(seed=1)
        # It returns when the other program runs; a child between fork and exec would not have its name yet.
        await world.python(f"import subprocess\\nsubprocess.Popen([{sys.argv[1]!r}, '60'], executable='/bin/sleep')")
    print("open", flush=True)
    await world.python("while True: pass")
anyio.run(main)
"""


def test_when_this_process_is_killed_its_sessions_end() -> None:
    marker = f"host-{os.getpid()}"
    source = str(Path(__file__).parents[2] / "src")
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, marker], env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE
    )
    assert host.stdout is not None
    with host:
        try:
            assert host.stdout.readline() == b"open\n"
            assert len(processes_with(marker, 0)) == 3
        finally:
            host.kill()
    assert processes_with(marker, 10) == []
