"""What every backend promises, tried on it: hostile programs, many at once, storms of cancelled calls.

More programs can be given: AEPO_HOSTILE_PROGRAMS names a Python file with a dictionary PROGRAMS from name to code.
"""

from __future__ import annotations

import getpass
import os
import resource
import runpy
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.tools.sandbox.choose import _BACKENDS
from aepo.tools.sandbox.probe import Canaries, canaries, processes_with
from tests.tools.sandbox import holding, hostile


def given() -> dict[str, str]:
    beside = Path(__file__).parents[4] / "shared" / "hostile" / "programs.py"
    path = Path(os.environ.get("AEPO_HOSTILE_PROGRAMS", beside))
    return runpy.run_path(str(path))["PROGRAMS"] if path.is_file() else {}


@dataclass(frozen=True)
class Host:
    """What may be attacked, and how it stands."""

    canaries: Canaries
    sockets: tuple[socket.socket, ...]
    datagrams: tuple[socket.socket, ...]

    def filled_in(self, code: str) -> str:
        places = {
            "FOLDER": self.canaries.folder,
            "CANARY": self.canaries.folder,
            "PORT": self.canaries.port,
            "ABSTRACT": self.canaries.marker,
            "MARKER": self.canaries.marker,
            "HOST": os.getpid(),
            "USER": getpass.getuser(),
            "SECRET": "AEPO_PROBE_SECRET",
        }
        for name, place in places.items():
            code = code.replace(f"@{name}@", str(place))
        return code

    def reached(self) -> list[str]:
        found = ["port or abstract socket"] if self.canaries.reached() else []
        for listener in self.sockets:
            try:
                listener.accept()[0].close()
                found.append(str(listener.getsockname()))
            except BlockingIOError:
                continue
        for receiver in self.datagrams:
            try:
                receiver.recv(9)
                found.append(str(receiver.getsockname()))
            except BlockingIOError:
                continue
        return found

    def state(self) -> dict[str, Any]:
        """Everything of the host that a program could have changed for good."""
        limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name[:7] == "RLIMIT_"}
        files = {}
        for path in (self.canaries.folder, *self.canaries.folder.iterdir(), Path(os.__file__)):
            about = path.stat()
            owner = (about.st_mode, about.st_uid, about.st_gid)
            files[path.name] = (owner, about.st_mtime_ns, about.st_size, tuple(os.listxattr(path)))
        return {
            "limits": limits, "files": files, "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "cores": os.sched_getaffinity(0), "scheduler": os.sched_getscheduler(0), "name": socket.gethostname(),
            "secret": (self.canaries.folder / "secret.txt").read_text(), "system": os.path.exists("/usr/owned"),
        }  # fmt: skip


@contextmanager
def attacked() -> Iterator[Host]:
    """A host with canaries, which must stand afterwards as it stood before."""
    with ExitStack() as stack:
        made = stack.enter_context(canaries())

        def bound(kind: int, *addresses: str) -> tuple[socket.socket, ...]:
            opened_ = tuple(stack.enter_context(socket.socket(socket.AF_UNIX, kind)) for _ in addresses)
            for opened, address in zip(opened_, addresses, strict=True):
                opened.bind(address)
                opened.setblocking(False)
            return opened_

        streams = bound(socket.SOCK_STREAM, str(made.folder / "socket"))
        datagrams = bound(socket.SOCK_DGRAM, f"\0{made.marker}-datagrams", str(made.folder / "datagrams"))
        for listener in streams:
            listener.listen(64)
        # Whoever may look at them may use them: it is the sandbox that must keep programs away.
        os.chmod(made.folder, 0o755)
        for name in ("socket", "datagrams", "secret.txt"):
            os.chmod(made.folder / name, 0o777)
        host = Host(made, streams, datagrams)
        before = host.state()
        yield host
        assert host.reached() == [], "a socket of the host was reached"
        after = host.state()
        changed = {name: (was, after[name]) for name, was in before.items() if after[name] != was}
        assert changed == {}, "the host was changed"
        assert processes_with(made.marker, 5) == [], "a process was left"


def own_processes() -> set[int]:
    """The descendants of this process."""
    found, i = [os.getpid()], 0
    while i < len(found):
        try:
            for thread in os.listdir(f"/proc/{found[i]}/task"):
                found += map(int, Path(f"/proc/{found[i]}/task/{thread}/children").read_text().split())
        except OSError:
            pass
        i += 1
    return set(found)


def held() -> tuple[set[int], int, list[str]]:
    """Processes, descriptors of all of them, and scratch folders."""
    processes, descriptors = own_processes(), 0
    for process in processes:
        try:
            descriptors += len(os.listdir(f"/proc/{process}/fd"))
        except OSError:
            continue
    folders = [p.name for process in processes for p in Path(tempfile.gettempdir()).glob(f"aepo-{process}-*")]
    return processes, descriptors, folders


@contextmanager
def nothing_left(sandbox: Sandbox) -> Iterator[None]:
    """As many processes, descriptors and scratch folders afterwards as before."""
    # Threads and the backend's own process are started by the first calls.
    anyio.run(many, sandbox, [("print(1)", 20.0)] * 16, 16)
    before = held()
    yield
    deadline = time.monotonic() + 10
    while (after := held()) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert after[0] - before[0] == set(), "processes were left"
    assert after[1] <= before[1], f"descriptors: {before[1]} before, {after[1]} after"
    assert after[2] == before[2], "scratch folders were left"


async def many(sandbox: Sandbox, calls: list[tuple[str, float]], at_once: int) -> list[SandboxResult]:
    results: dict[int, SandboxResult] = {}
    places = anyio.CapacityLimiter(at_once)

    async def one(number: int, code: str, timeout: float) -> None:
        async with places:
            results[number] = await sandbox.run(code, timeout)

    async with anyio.create_task_group() as tasks:
        for number, (code, timeout) in enumerate(calls):
            tasks.start_soon(one, number, code, timeout)
    return [results[number] for number in range(len(calls))]


def attack(sandbox: Sandbox, programs: list[hostile.Program]) -> dict[str, SandboxResult]:
    """Run the programs, judge what each did, and give the results by name."""
    with attacked() as host, nothing_left(sandbox):
        calls = [(host.filled_in(program.code), program.timeout) for program in programs]
        found = anyio.run(many, sandbox, calls, 6)
        results = {program.name: result for program, result in zip(programs, found, strict=True)}
        wrong = {
            program.name: (result.status.value, result.stdout[-200:], result.stderr[-300:])
            for program, result in zip(programs, found, strict=True)
            if result.status not in program.statuses
            or "BREACH" in result.stdout + result.stderr
            or host.canaries.secret in result.stdout + result.stderr
            or (program in hostile.FINE and not result.stdout.rstrip().endswith("fine"))
        }
        assert wrong == {}
        # What a later program sees is what the first one saw.
        after = anyio.run(
            sandbox.run, "import os\nprint('still here', os.listdir('.'), dict(os.environ))", hostile.PATIENT
        )
        assert after.stdout == "still here [] {}\n"
    return results


def test_every_hostile_program_is_contained_and_its_end_is_told_rightly(sandbox: Sandbox) -> None:
    programs = list(hostile.PROGRAMS)
    if os.uname().machine == "x86_64":
        programs += hostile.X86_64_ONLY
    results = attack(sandbox, programs)
    assert results["forged_start"].stdout == "\x01" * 10
    assert results["exit_status"].returncode == 7


def test_every_given_program_is_contained(sandbox: Sandbox) -> None:
    programs = given()
    if not programs:
        pytest.skip("set AEPO_HOSTILE_PROGRAMS to a Python file with a dictionary PROGRAMS to run more programs")
    # They may leave a `sleep` of 317 or 318 seconds; ours must not be taken for that of another test run.
    nap = str(10_000_000 + os.getpid())
    ends = frozenset(SandboxStatus) - {SandboxStatus.INFRASTRUCTURE_ERROR}
    results = attack(
        sandbox,
        [
            hostile.Program(name, code.replace("317", nap).replace("318", nap), ends, 2.0)
            for name, code in programs.items()
        ],
    )
    assert processes_with(f"sleep\0{nap}", 5) == []
    if "hello" in programs and "subprocess" in programs:
        assert results["hello"].stdout == "hi\n" and results["subprocess"].stdout == "sub\n\n"


def test_no_program_makes_others_wait_for_a_file_that_it_may_read(sandbox: Sandbox, tmp_path: Path) -> None:
    module = holding.environment(tmp_path)
    assert anyio.run(holding.held, _BACKENDS[sandbox.name](packages=tmp_path), module) == []


Verdict = Callable[[SandboxResult], bool]


def test_256_mixed_calls_at_64_in_flight_all_end_rightly(sandbox: Sandbox) -> None:
    marker = f"mixed-{os.getpid()}-{sandbox.name}"
    nap = f"os.execv('/bin/sleep', [{marker!r}, '60'])"
    kinds: list[tuple[str, float, Verdict]] = [
        ("while True: pass", 0.3, lambda r: r.status is SandboxStatus.TIMEOUT),
        ("while True: print('x' * 9999)", 30, lambda r: r.status is SandboxStatus.OUTPUT_LIMIT),
        (f"import os\nif os.fork() == 0:\n    os.setsid()\n    {nap}\nprint('d')", 30, lambda r: r.stdout == "d\n"),
        ("import ctypes\nctypes.string_at(0)", 30, lambda r: r.status is SandboxStatus.KILLED),
        ("b = bytearray(1 << 30)", 30, lambda r: r.status is SandboxStatus.MEMORY_LIMIT),
        (f"import os\nif os.fork() == 0: {nap}\nos._exit(3)", 30, lambda r: r.returncode == 3),
    ]

    def call(number: int) -> tuple[str, float, Verdict]:
        if number % 3:
            return f"print({number} * 2)", 30, lambda r: r.status is SandboxStatus.OK and r.stdout == f"{number * 2}\n"
        return kinds[number // 3 % len(kinds)]

    calls = [call(number) for number in range(256)]
    with nothing_left(sandbox):
        results = anyio.run(many, sandbox, [(code, timeout) for code, timeout, _ in calls], 64)
    wrong = [(calls[i][0], r.status.value, r.stderr[-200:]) for i, r in enumerate(results) if not calls[i][2](r)]
    assert wrong == []
    assert processes_with(marker, 5) == []


def test_six_storms_of_40_cancelled_calls_leave_nothing(sandbox: Sandbox) -> None:
    marker = f"storm-{os.getpid()}-{sandbox.name}"
    code = f"import os\nif os.fork() == 0: os.execv('/bin/sleep', [{marker!r}, '60'])\nwhile True: pass"

    async def storm(number: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(sandbox.run, code, 60)
            # From before the first has begun to when some run.
            with anyio.move_on_after(0.1 * number):
                await anyio.sleep_forever()
            tasks.cancel_scope.cancel()

    with nothing_left(sandbox):
        for number in range(6):
            anyio.run(storm, number)
        assert processes_with(marker, 5) == []
        assert anyio.run(sandbox.run, "print('next')", hostile.PATIENT).stdout == "next\n"
