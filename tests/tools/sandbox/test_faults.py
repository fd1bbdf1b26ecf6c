"""Faults around a sandbox: its processes killed, descriptors used up, calls cancelled anywhere, the host gone."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from aepo.tools.sandbox.base import Sandbox, SandboxLimits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.capture import StopFlag, capture
from aepo.tools.sandbox.probe import processes_with
from aepo.tools.sandbox.worker import SandlockWorker

LOST = SandboxStatus.INFRASTRUCTURE_ERROR


def endless(marker: str) -> str:
    """A program with a daemon; both carry the marker, and neither ends by itself."""
    return (
        f"import os\nif os.fork() == 0:\n    os.setsid()\n    os.execv('/bin/sleep', [{marker!r}, '600'])\n"
        f"os.execv('/bin/sh', [{marker!r}, '-c', 'while :; do :; done'])"
    )


async def until_there(marker: str, count: int = 2) -> list[int]:
    while len(found := await anyio.to_thread.run_sync(processes_with, marker, 0)) < count:
        await anyio.sleep(0.01)
    return found


def parents(process: int) -> Iterator[int]:
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


@pytest.mark.parametrize("above", [0, 1])
def test_when_processes_of_the_sandbox_are_killed_in_a_call_nothing_of_it_is_left(sandbox: Sandbox, above: int) -> None:
    """Those between the program and this process: for one the worker and its keeper, for the other bwrap's two."""
    marker = f"killed-{above}-{os.getpid()}-{sandbox.name}"
    results: list[SandboxResult] = []

    async def call() -> None:
        results.append(await sandbox.run(endless(marker), 600))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            program = (await until_there(marker))[0]
            chain = list(parents(program))
            between = chain[: chain.index(os.getpid())]
            os.kill(between[-1 - above], signal.SIGKILL)

    anyio.run(main)
    assert results[0].status in (LOST, SandboxStatus.KILLED)
    assert results[0].status is LOST or sandbox.name == "bubblewrap"
    assert processes_with(marker, 10) == []
    assert anyio.run(sandbox.run, "print('next')", 20).stdout == "next\n"


def test_a_worker_killed_while_idle_is_replaced() -> None:
    try:
        box = SandlockWorker()
    except (ImportError, OSError) as error:
        pytest.skip(f"sandlock does not load here: {error}")
    for _ in range(3):
        assert anyio.run(box.run, "print(1)", 20).stdout == "1\n"
        assert box._process is not None
        box._process.popen.kill()
        box._process.popen.wait()
    box.close()


def test_a_worker_that_is_stuck_is_replaced_and_its_programs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from aepo.tools.sandbox import worker as module

    try:
        box = SandlockWorker()
    except (ImportError, OSError) as error:
        pytest.skip(f"sandlock does not load here: {error}")
    marker = f"stuck-{os.getpid()}"

    async def main() -> list[SandboxResult]:
        results: list[SandboxResult] = []

        async def call(timeout: float) -> None:
            results.append(await box.run(endless(marker), timeout))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, 600)
            chain = list(parents((await until_there(marker))[0]))
            os.kill(chain[chain.index(os.getpid()) - 2], signal.SIGSTOP)
            # More than a pipe holds: the event loop must not wait for the one who does not read.
            tasks.start_soon(box.run, "#" * (1 << 20), 0)
            tasks.start_soon(call, 0)
        return results

    monkeypatch.setattr(module, "_STUCK_SECONDS", 0.5)
    assert [result.status for result in anyio.run(main)] == [LOST, LOST]
    assert processes_with(marker, 10) == []
    monkeypatch.undo()
    assert anyio.run(box.run, "print('next')", 20).stdout == "next\n"
    box.close()


def test_a_program_that_closes_its_input_before_the_code_was_read_is_no_failure_of_ours() -> None:
    reader, code = os.pipe()
    os.close(reader)
    out, out_write = os.pipe()
    err, err_write = os.pipe()
    program = subprocess.Popen([sys.executable, "-c", "pass"], stdout=out_write, stderr=err_write)
    os.close(out_write)
    os.close(err_write)
    exited, stop = os.pidfd_open(program.pid), StopFlag()
    captured = capture(code, out, err, exited, b"x" * (1 << 20), 10, SandboxLimits(), stop)
    assert (captured.end.value, captured.stdout, program.wait()) == ("exit", b"", 0)
    stop.close()
    for fd in (out, err, exited):
        os.close(fd)


@pytest.mark.parametrize("size", [1 << 16, 1 << 20, 8 << 20])
def test_code_larger_than_a_pipe_gets_through(sandbox: Sandbox, size: int) -> None:
    assert anyio.run(sandbox.run, f"x = '{'a' * size}'\nprint(len(x))", 60).stdout == f"{size}\n"


def test_a_program_that_never_reads_much_code_is_stopped_in_time(sandbox: Sandbox) -> None:
    code = "#" + "a" * (4 << 20) + "\nwhile True: pass"
    assert anyio.run(sandbox.run, code, 0.3).status is SandboxStatus.TIMEOUT


def test_a_call_may_be_cancelled_at_each_of_its_steps(sandbox: Sandbox) -> None:
    marker = f"steps-{os.getpid()}-{sandbox.name}"

    async def cancelled_after(steps: int) -> None:
        task = asyncio.create_task(sandbox.run(endless(marker), 600))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def twice_cancelled() -> None:
        task = asyncio.create_task(sandbox.run(endless(marker), 600))
        await until_there(marker)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for steps in range(12):
        asyncio.run(cancelled_after(steps))
    asyncio.run(twice_cancelled())
    assert processes_with(marker, 10) == []
    assert anyio.run(sandbox.run, "print('next')", 20).stdout == "next\n"


@contextmanager
def at_most(descriptors: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_free_descriptors_calls_fail_as_infrastructure_and_lose_none() -> None:
    box = BubblewrapSandbox()

    async def main() -> list[SandboxStatus]:
        statuses = [(await box.run("print(1)", 20)).status]
        before = len(os.listdir("/proc/self/fd"))
        highest = max(map(int, os.listdir("/proc/self/fd")))
        for spare in range(16):
            with at_most(highest + 1 + spare):
                # Fill the gaps, so that what is left is exactly `spare`.
                fill: list[int] = []
                try:
                    while True:
                        fill.append(os.dup(0))
                except OSError:
                    for fd in fill[len(fill) - spare :] if spare else []:
                        os.close(fd)
                        fill.remove(fd)
                statuses.append((await box.run("print(1)", 20)).status)
                for fd in fill:
                    os.close(fd)
            assert len(os.listdir("/proc/self/fd")) == before, f"with {spare} free"
        return statuses

    first, *others = anyio.run(main)
    if first is LOST:
        pytest.skip("bubblewrap does not start here")
    assert others[0] is LOST and set(others) <= {LOST, SandboxStatus.OK}


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EAGAIN, errno.ENOSPC], ids=errno.errorcode.get)
def test_a_host_that_cannot_start_a_process_fails_the_call_as_infrastructure(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    box = BubblewrapSandbox()
    if anyio.run(box.run, "print(1)", 20).status is LOST:
        pytest.skip("bubblewrap does not start here")
    before = len(os.listdir("/proc/self/fd"))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", refuse)
        lost = anyio.run(box.run, "print(1)", 20)
    assert lost.status is LOST and os.strerror(number) in lost.stderr
    assert len(os.listdir("/proc/self/fd")) == before
    assert anyio.run(box.run, "print(2)", 20).stdout == "2\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_without_room_for_scratch_files_calls_fail_as_infrastructure_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=50", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        try:
            box = SandlockWorker()
        except (ImportError, OSError) as error:
            pytest.skip(f"sandlock does not load here: {error}")
        try:
            assert anyio.run(box.run, "print(1)", 20).stdout == "1\n"
            files = []
            with suppress(OSError):
                while True:
                    files.append(tmp_path / str(len(files)))
                    files[-1].touch()
            assert anyio.run(box.run, "print(2)", 20).status is LOST
            for file in files:
                file.unlink(missing_ok=True)
            assert anyio.run(box.run, "print(3)", 20).stdout == "3\n"
        finally:
            box.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_host_whose_event_loop_stands_still_finds_the_programs_ended_in_time(sandbox: Sandbox) -> None:
    marker = f"stall-{os.getpid()}-{sandbox.name}"

    async def main() -> list[SandboxResult]:
        results: list[SandboxResult] = []

        async def call(code: str, timeout: float) -> None:
            results.append(await sandbox.run(code, timeout))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, endless(marker), 0.3)
            tasks.start_soon(call, "print('x' * 60_000)", 30)
            await until_there(marker)
            stalled = threading.Event()
            # Nothing of the loop runs meanwhile; the program must end all the same.
            while processes_with(marker, 0):
                stalled.wait(0.05)
            stalled.wait(2)
        return results

    assert {r.status for r in anyio.run(main)} == {SandboxStatus.TIMEOUT, SandboxStatus.OK}


HOST = """
import anyio, sys
from aepo.tools.sandbox.choose import _BACKENDS
code, name = sys.argv[1:]
async def main():
    box = _BACKENDS[name]()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(box.run, code, 600)
anyio.run(main)
"""


def test_when_the_host_process_is_killed_all_of_its_programs_end(sandbox: Sandbox) -> None:
    marker = f"orphan-{os.getpid()}-{sandbox.name}"
    source = str(Path(__file__).parents[3] / "src")
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, endless(marker), sandbox.name], env={**os.environ, "PYTHONPATH": source}
    )
    try:
        deadline = time.monotonic() + 60
        while len(found := processes_with(marker, 0)) < 7 and time.monotonic() < deadline:
            time.sleep(0.02)
        # The code stands on the command line of the host, too.
        assert len(set(found) - {host.pid}) >= 6
    finally:
        host.kill()
        host.wait()
    assert processes_with(marker, 30) == []
