"""sandlock's own process: it is started when needed, survives nothing it should not, and is replaced when it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import anyio
import pytest

from aepo.tools.sandbox.base import SandboxStatus
from aepo.tools.sandbox.probe import probe
from aepo.tools.sandbox.worker import SandlockWorker


@pytest.fixture(scope="module")
def worker() -> Iterator[SandlockWorker]:
    try:
        made = SandlockWorker()
    except (ImportError, OSError) as error:
        pytest.skip(f"sandlock does not load here: {error}")
    if probe(made):
        pytest.skip("sandlock does not contain the probe here")
    yield made
    made.close()


def test_one_process_serves_many_event_loops_and_calls_at_once(worker: SandlockWorker) -> None:
    async def many() -> list[str]:
        texts: list[str] = []

        async def one(number: int) -> None:
            texts.append((await worker.run(f"print({number})", 10)).stdout)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(one, number)
        return texts

    for _ in range(2):
        assert sorted(anyio.run(many)) == sorted(f"{n}\n" for n in range(8))
    assert worker._process is not None and worker._process.popen.poll() is None


def test_when_its_process_is_killed_calls_are_lost_as_infrastructure_and_the_next_one_works(
    worker: SandlockWorker,
) -> None:
    async def killed() -> SandboxStatus:
        statuses: list[SandboxStatus] = []

        async def endless() -> None:
            statuses.append((await worker.run("while True: pass", 60)).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(endless)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            assert worker._process is not None
            os.kill(worker._process.popen.pid, signal.SIGKILL)
        return statuses[0]

    anyio.run(worker.run, "print(1)", 10)
    assert anyio.run(killed) is SandboxStatus.INFRASTRUCTURE_ERROR
    assert anyio.run(worker.run, "print('again')", 10).stdout == "again\n"


def test_a_cancelled_call_leaves_the_others_alone(worker: SandlockWorker) -> None:
    async def cancelled() -> tuple[bool, str]:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(worker.run, "while True: pass", 60)
                assert (await worker.run("print('first')", 10)).stdout == "first\n"
                scope.cancel()
        return scope.cancelled_caught, (await worker.run("print('then')", 10)).stdout

    assert anyio.run(cancelled) == (True, "then\n")


def test_what_it_is_given_to_run_may_hold_anything(worker: SandlockWorker) -> None:
    result = anyio.run(worker.run, "print('a\\x00b', '\\n', len('\ud800'))", 10)
    assert result.status in (SandboxStatus.OK, SandboxStatus.ERROR)
