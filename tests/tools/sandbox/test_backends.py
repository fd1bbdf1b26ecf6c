"""What every backend does: run, limit, kill, clean up."""

import os
import threading
import time
from pathlib import Path

import anyio
import pytest

from aepo.tools.sandbox.base import Sandbox, SandboxLimits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox, find_bwrap
from aepo.tools.sandbox.probe import processes_with
from aepo.tools.sandbox.worker import SandlockWorker


def run(sandbox: Sandbox, code: str, timeout: float = 5) -> SandboxResult:
    return anyio.run(sandbox.run, code, timeout)


def test_a_program_prints_and_ends(sandbox: Sandbox) -> None:
    result = run(sandbox, "import sys\nprint('hi', 'é')\nprint('warned', file=sys.stderr)")
    assert (result.status, result.stdout, result.stderr, result.returncode) == (
        SandboxStatus.OK, "hi é\n", "warned\n", 0,
    )  # fmt: skip


def test_the_standard_library_imports(sandbox: Sandbox) -> None:
    code = "import collections, ctypes, datetime, decimal, fractions, json, math, random, re, sqlite3, statistics\n"
    result = run(sandbox, code + "import itertools, subprocess, tempfile, threading\nprint(math.comb(10, 3))")
    assert result.stdout == "120\n", result.stderr


@pytest.mark.parametrize(
    ("code", "status", "returncode"),
    [
        ("import sys; sys.exit(7)", SandboxStatus.ERROR, 7),
        ("import os; os._exit(3)", SandboxStatus.ERROR, 3),
        *((f"import os; os._exit({n})", SandboxStatus.ERROR, n) for n in (127, 128, 129, 130, 137, 139, 192, 193, 255)),
        ("import os; os.execv('/bin/sh', ['sh', '-c', 'exit 137'])", SandboxStatus.ERROR, 137),
        ("1 / 0", SandboxStatus.ERROR, 1),
        ("import ctypes; ctypes.string_at(0)", SandboxStatus.KILLED, -11),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", SandboxStatus.KILLED, -15),
        ("import os, signal; os.kill(os.getpid(), signal.SIGALRM)", SandboxStatus.KILLED, -14),
        ("import os; os.kill(os.getpid(), 64)", SandboxStatus.KILLED, -64),
        ("import os; os.abort()", SandboxStatus.KILLED, -6),
    ],
)
def test_how_it_ended_is_told(sandbox: Sandbox, code: str, status: SandboxStatus, returncode: int) -> None:
    result = run(sandbox, code)
    assert (result.status, result.returncode) == (status, returncode)


def test_a_long_program_gets_through(sandbox: Sandbox) -> None:
    assert run(sandbox, "x = 0\n" + "x += 1\n" * 40_000 + "print(x)").stdout == "40000\n"


def test_the_environment_is_empty_and_the_folder_is_its_own(sandbox: Sandbox) -> None:
    code = "import os\nprint(dict(os.environ), os.listdir('.'))\nopen('a', 'w').write('x')\nprint(open('a').read())"
    assert [run(sandbox, code).stdout for _ in range(2)] == ["{} []\nx\n"] * 2


def test_sets_print_in_the_same_order_every_time(sandbox: Sandbox) -> None:
    assert len({run(sandbox, "print({'a', 'b', 'c', 'd', 'e', 'f', 'g'})").stdout for _ in range(4)}) == 1


def test_the_head_of_stdout_and_the_tail_of_stderr_are_kept(sandbox: Sandbox) -> None:
    code = "import sys\nprint('first' + 'x' * 200_000)\nprint('y' * 200_000 + 'last', file=sys.stderr)"
    result = run(sandbox, code)
    assert result.status is SandboxStatus.OK
    assert result.stdout.startswith("first") and len(result.stdout) <= 1 << 16
    assert result.stderr.endswith("last\n") and len(result.stderr) == 1 << 16
    assert len(result.stdout) + result.left_out == len("first" + "x" * 200_000 + "\n")


def test_output_that_is_not_text_is_replaced(sandbox: Sandbox) -> None:
    result = run(sandbox, "import sys; sys.stdout.buffer.write(b'a\\xff\\x00b')")
    assert result.stdout == "a\ufffd\x00b"


def test_a_child_that_holds_the_output_open_does_not_hold_the_call(sandbox: Sandbox) -> None:
    marker = f"holder-{os.getpid()}-{sandbox.name}"
    code = f"import os\nif os.fork() == 0: os.execv('/bin/sleep', [{marker!r}, '60'])\nprint('done')"
    result = run(sandbox, code, 30)
    assert (result.status, result.stdout) == (SandboxStatus.OK, "done\n")
    assert processes_with(marker) == []


def test_capabilities_and_raised_limits_are_out_of_reach(sandbox: Sandbox) -> None:
    code = """
import ctypes, resource
libc = ctypes.CDLL(None)
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
libc.capget(header, data)
print([data[i] for i in (0, 1, 3, 4)])
for name in ("AS", "FSIZE", "NOFILE", "CORE"):
    try: resource.setrlimit(getattr(resource, "RLIMIT_" + name), (1 << 40, 1 << 40))
    except (ValueError, OSError): continue
    print("raised", name)
"""
    assert run(sandbox, code).stdout == "[0, 0, 0, 0]\n"


def test_the_first_process_of_a_namespace_is_limited_as_the_program_is() -> None:
    if not (bwrap := find_bwrap()):
        pytest.skip("bubblewrap is not installed")
    result = run(BubblewrapSandbox(bwrap=bwrap), "print(open('/proc/1/limits').read())")
    if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
        pytest.skip(result.stderr)
    limits = {line[:25].strip(): line[25:].split()[:2] for line in result.stdout.splitlines()}
    assert limits["Max address space"] == [str(SandboxLimits().memory)] * 2
    assert limits["Max open files"] == [str(SandboxLimits().files)] * 2
    assert limits["Max core file size"] == ["0", "0"]


def test_a_nested_user_namespace_is_refused(sandbox: Sandbox) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None)
print(libc.unshare(0x10000000), libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0), libc.ptrace(0, 0, 0, 0))
"""
    if os.uname().machine != "x86_64":
        pytest.skip("system call numbers of x86-64")
    assert run(sandbox, code).stdout == "-1 -1 -1\n"


def test_sixteen_programs_run_at_once_apart_from_each_other(sandbox: Sandbox) -> None:
    results: dict[int, SandboxResult] = {}

    async def main() -> None:
        async def one(i: int) -> None:
            results[i] = await sandbox.run(f"open('a', 'x').write('{i}')\nprint(open('a').read())", 20)

        async with anyio.create_task_group() as tasks:
            for i in range(16):
                tasks.start_soon(one, i)

    anyio.run(main)
    assert {i: r.stdout for i, r in results.items()} == {i: f"{i}\n" for i in range(16)}


def test_nothing_leaks_over_a_hundred_calls_some_of_them_cancelled(sandbox: Sandbox) -> None:
    marker = f"leak-{os.getpid()}-{sandbox.name}"
    loop = f"import subprocess\nsubprocess.Popen([{marker!r}, '60'], executable='/bin/sleep')\nwhile True: pass"

    async def one(i: int) -> None:
        if i % 4 == 0:
            with anyio.move_on_after(0.005 * (i % 20)):
                await sandbox.run(loop, 60)
        elif i % 10 == 1:
            assert (await sandbox.run("while True: pass", 0.05)).status is SandboxStatus.TIMEOUT
        else:
            assert (await sandbox.run("print(1)", 20)).stdout == "1\n"

    async def main(calls: int) -> None:
        async def limited(i: int, places: anyio.CapacityLimiter) -> None:
            async with places:
                await one(i)

        places = anyio.CapacityLimiter(8)
        async with anyio.create_task_group() as tasks:
            for i in range(calls):
                tasks.start_soon(limited, i, places)

    def state() -> tuple[int, int, int]:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), len(children), sum(1 for _ in Path("/proc/self/task").iterdir())

    def more(after: tuple[int, int, int], before: tuple[int, int, int]) -> bool:
        return any(a > b for a, b in zip(after, before, strict=True))

    anyio.run(main, 8)
    before = state()
    anyio.run(main, 100)
    deadline = time.monotonic() + 5
    while more(after := state(), before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not more(after, before), f"descriptors, children, threads: {before} before, {after} after"
    assert processes_with(marker) == []
    assert zombies() == []


def zombies() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z" and int(fields[1]) == os.getpid():
            found.append(entry.name)
    return found


def test_cancelling_kills_the_program_before_the_call_returns(sandbox: Sandbox) -> None:
    marker = f"cancelled-{os.getpid()}-{sandbox.name}"
    code = f"import os\nif os.fork() == 0:\n    os.setsid()\n    os.execv('/bin/sleep', [{marker!r}, '60'])\n"
    code += "while True: pass"

    async def main() -> list[int]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sandbox.run, code, 60)
            while not await anyio.to_thread.run_sync(processes_with, marker, 0):
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        return processes_with(marker)

    assert anyio.run(main) == []


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.5])
def test_a_cancelled_call_answers_nothing(sandbox: Sandbox, seconds: float) -> None:
    async def main() -> tuple[bool, list[str]]:
        answers = []
        with anyio.move_on_after(seconds) as scope:
            answers.append((await sandbox.run("while True: pass", 60)).status.value)
        return scope.cancelled_caught, answers

    assert anyio.run(main) == (True, [])


def test_a_broken_backend_is_an_infrastructure_failure(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: no namespaces' >&2\nexit 1\n")
    broken.chmod(0o755)
    result = run(BubblewrapSandbox(bwrap=broken), "print(1)")
    assert result.status is SandboxStatus.INFRASTRUCTURE_ERROR and "no namespaces" in result.stderr


def test_limits_are_taken(sandbox: Sandbox) -> None:
    backend = SandlockWorker if sandbox.name == "sandlock" else BubblewrapSandbox
    small: Sandbox = backend(SandboxLimits(memory=256 << 20, output_kept=10, output_killed=1000))
    assert run(small, "print('x' * 500)").stdout == "x" * 10
    assert run(small, "print('x' * 2000)").status is SandboxStatus.OUTPUT_LIMIT
    assert run(small, "b = bytearray(300 << 20)\nprint('DONE')").stdout == ""
