"""A world in a process of its own: the same calls and errors, and nothing of it is left, however it ends."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import anyio
import pytest

import aepo
from aepo.environments.contract import EnvironmentLost
from aepo.environments.process import ProcessWorld, in_process
from aepo.tools.sandbox.probe import processes_with
from aepo.types import Sample, ToolError
from tests.environments.shared import Deadly, Global, Tally
from tests.environments.worlds import Copied, Maze, rollout
from tests.rollout.toy import questions


def opened(**settings: Any) -> ProcessWorld:
    return in_process(partial(Tally, **settings), Tally)()


async def ask(world: ProcessWorld, method: str, *args: Any, **kwargs: Any) -> Any:
    return await getattr(world, method)(*args, **kwargs)


async def there(marker: str, count: int) -> None:
    with anyio.fail_after(30):
        while len(processes_with(marker, 0)) < count:
            await anyio.sleep(0.01)


def test_the_methods_look_as_those_of_the_class() -> None:
    kind = in_process(Tally, Tally)
    assert inspect.signature(kind.add) == inspect.signature(Tally.add)  # type: ignore[attr-defined]
    assert get_type_hints(kind.add) == get_type_hints(Tally.add)  # type: ignore[attr-defined]
    assert (kind.__name__, kind.add.__doc__) == ("Tally", Tally.add.__doc__)  # type: ignore[attr-defined]


def test_what_one_process_shares_is_not_shared_between_two() -> None:
    async def main() -> None:
        one, other = opened(), opened()
        assert await ask(one, "reset", seed=3) == await ask(other, "reset", seed=3) == "a tally from 3"
        assert [await ask(w, "add", 2) for w in (one, other, one)] == ["5", "5", "7"]
        assert await ask(one, "later", 1) == "8"
        assert (one.done, one.state, other.done) == (False, {"count": 8}, False)
        assert await ask(one, "add", 93) == "101" and one.done
        assert await ask(one, "get_reward") == 1.0 and await ask(other, "get_reward") == 0.0
        for world in (one, other):
            await ask(world, "close")
        with pytest.raises(EnvironmentLost, match="the process of Tally has ended"):
            await ask(one, "add", 1)

    anyio.run(main)


def test_a_snapshot_goes_from_one_process_to_another() -> None:
    async def main() -> None:
        one, other = opened(), opened()
        await ask(one, "reset", seed=1)
        kept = await ask(one, "snapshot")
        await ask(one, "add", 5)
        await ask(other, "restore", kept)
        assert (await ask(other, "add", 1), await ask(one, "add", 1)) == ("2", "7")
        for world in (one, other):
            await ask(world, "close")

    anyio.run(main)


def test_errors_of_the_world_are_raised_here_and_it_goes_on() -> None:
    async def main() -> None:
        world = opened()
        await ask(world, "reset", seed=0)
        with pytest.raises(ToolError, match=r"^below zero$"):
            await ask(world, "add", -1)
        with pytest.raises(FileNotFoundError, match="nowhere") as found:
            await ask(world, "read", "/nowhere")
        assert "in the world's process" in found.value.__notes__[0]
        with pytest.raises(RuntimeError, match="Odd: no copy"):
            await ask(world, "odd")
        with pytest.raises(SystemExit):
            await ask(world, "leave")
        with pytest.raises((TypeError, AttributeError), match="pickle"):
            await ask(world, "give_function")
        assert await ask(world, "say", "a" * 3_000_000) == "a" * 3_000_000
        assert await ask(world, "add", 1) == "1"
        await ask(world, "close")

    anyio.run(main)


def test_a_factory_that_fails_says_why() -> None:
    async def main() -> None:
        world = opened(broken=True)
        with pytest.raises(ValueError, match="no licence"):
            await ask(world, "reset", seed=0)
        await ask(world, "close")

    anyio.run(main)


def test_one_that_dies_is_lost_and_leaves_nothing() -> None:
    async def main() -> None:
        for how in ("add", "reset", "close"):
            marker = f"tally-{os.getpid()}-{how}"
            world = opened(marker=marker)
            await ask(world, "reset", seed=0)
            await there(marker, 1)
            os.kill(int(await ask(world, "number")), signal.SIGKILL)
            if how == "close":
                await ask(world, "close")
            else:
                with pytest.raises(EnvironmentLost, match="has ended"):
                    await ask(world, how, 1)
                await ask(world, "close")
            assert processes_with(marker, 5) == []

    anyio.run(main)


def test_a_call_that_is_given_up_ends_the_process() -> None:
    async def main() -> None:
        marker = f"hangs-{os.getpid()}"
        world = opened(marker=marker)
        await ask(world, "reset", seed=0)
        with anyio.move_on_after(0.2):
            await ask(world, "hang")
        with pytest.raises(EnvironmentLost):
            await ask(world, "add", 1)
        await ask(world, "close")
        assert processes_with(marker, 0) == []

    anyio.run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.2, 0.5])
def test_a_start_that_is_given_up_leaves_nothing(seconds: float) -> None:
    marker = f"start-{os.getpid()}-{seconds}"

    async def main() -> None:
        world = opened(marker=marker)
        task = asyncio.create_task(ask(world, "reset", seed=0))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait([task])
        await ask(world, "close")

    asyncio.run(main())
    assert processes_with(marker, 5) == []


def test_one_that_nobody_holds_any_more_ends() -> None:
    marker = f"dropped-{os.getpid()}"

    async def main() -> None:
        world = opened(marker=marker)
        await ask(world, "reset", seed=0)

    anyio.run(main)
    assert processes_with(marker, 5) == []


HOST = """
import sys
sys.path.insert(0, sys.argv[1])
import anyio
from functools import partial
from aepo.environments.process import in_process
{class_}

async def main():
    worlds = [in_process(partial(Tally, marker=sys.argv[2]), Tally)() for _ in range(2)]
    for world in worlds:
        await world.reset(seed=0)
    print("open", flush=True)
    await worlds[0].hang()

if __name__ == "__main__":
    anyio.run(main)
"""


@pytest.mark.parametrize("of_script", [True, False])
def test_when_this_process_is_killed_its_worlds_end(of_script: bool, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    source = (Path(__file__).parent / "shared.py").read_text()
    class_ = source.replace("from __future__ import annotations\n", "") if of_script else ""
    script = tmp_path / "host.py"
    script.write_text(HOST.format(class_=class_ or "from tests.environments.shared import Tally"))
    marker = f"killed-{os.getpid()}-{of_script}"
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    host = subprocess.Popen(
        [sys.executable, str(script), str(root), marker], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    with host:
        try:
            assert host.stdout.readline() == "open\n"
            anyio.run(there, marker, 3)
        finally:
            host.kill()
    assert processes_with(marker, 10) == []


def test_a_class_that_has_no_name_is_refused_with_the_way_out() -> None:
    class Local(Tally):
        pass

    with pytest.raises(TypeError, match="define the class at the top of a module"):
        in_process(Local, Local)


def test_twenty_at_once_leave_no_descriptor_and_no_process() -> None:
    marker = f"many-{os.getpid()}"

    async def one(number: int, results: list[str]) -> None:
        world = opened(marker=marker)
        await ask(world, "reset", seed=number)
        results.append(await ask(world, "add", 1))
        await ask(world, "close")

    async def main() -> list[str]:
        results: list[str] = []
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number, results)
        return results

    before = len(os.listdir("/proc/self/fd"))
    assert sorted(map(int, anyio.run(main))) == list(range(1, 21))
    last = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < last:
        time.sleep(0.02)
    assert len(os.listdir("/proc/self/fd")) <= before
    assert processes_with(marker, 0) == []


def test_a_rollout_in_processes_has_the_trees_of_one_without() -> None:
    plain, _ = rollout(aepo.environment(Maze), asked=questions(1))
    apart, counts = rollout(aepo.environment(Maze, process=True, max_open=8), asked=questions(1))
    assert apart == plain
    assert counts["opened"] == counts["closed"] and "refused" not in counts and counts["replayed_calls"] > 0
    restored, kept = rollout(aepo.environment(Copied, process=True, max_open=8), asked=questions(1))
    assert restored == plain and kept["restored"] > 0


def test_a_world_that_is_killed_amid_a_rollout_is_opened_again(tmp_path: Path) -> None:
    plain, _ = rollout(aepo.environment(Maze), asked=questions(1))
    deadly = partial(Deadly, str(tmp_path / "killed"))
    killed, counts = rollout(aepo.environment(deadly, process=True, max_open=8), asked=questions(1))
    assert killed == plain
    assert counts["recovered"] == 1


def test_what_a_process_shares_is_found_without_and_cured_by_processes() -> None:
    samples = [Sample("Count.", id=f"t{number}") for number in range(2)]
    assert aepo.check_environment(aepo.environment(Global), samples, calls=10) != []
    # Twelve processes for each question.
    assert aepo.check_environment(aepo.environment(Global, process=True), samples[:1], calls=10) == []
