"""What holds for a program in a sandbox holds for each cell of a session, and for its forks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from aepo.tools.sandbox.base import SandboxLimits, SandboxResult, SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.interpreter import Box, Interpreter, SandboxLost
from aepo.tools.sandbox.probe import processes_with
from tests.tools.sandbox import hostile
from tests.tools.sandbox.test_conformance import attack, nothing_left

OK, TIMEOUT = SandboxStatus.OK, SandboxStatus.TIMEOUT
# It is the first process of the cells that has ended, or goes on, where a program has ended.
OTHERS = {
    "wait_at_exit": OK,
    "thread_at_exit": OK,
    "exit_status": SandboxStatus.ERROR,
    "stop_itself": TIMEOUT,
}
# The channel is one more descriptor; see the test below.
LEFT_OUT = {"descriptors_given"}
# Only the channel tells that a fork has ended.
WITHOUT_STATUS = {"early_exit", "close_everything", "become_another", "exec_storm", "forged_start"}


@pytest.fixture
def sandbox() -> BubblewrapSandbox:
    try:
        found = choose("bubblewrap")
    except SandboxUnavailable as error:
        if "not contained" in str(error):
            raise
        pytest.skip(str(error))
    assert isinstance(found, BubblewrapSandbox)
    return found


@pytest.fixture
def cells(sandbox: BubblewrapSandbox) -> Iterator[Interpreter]:
    started = Box(sandbox).first
    yield started
    started.end()


class AmongCells:
    """A sandbox that runs each program as a cell among others."""

    name = "bubblewrap"

    def __init__(self, sandbox: BubblewrapSandbox, forked: bool) -> None:
        self._sandbox, self._forked = sandbox, forked

    async def run(self, code: str, timeout: float) -> SandboxResult:
        with anyio.CancelScope(shield=True):
            used = await anyio.to_thread.run_sync(self._started)
        try:
            assert (await used.run("before = 1", hostile.PATIENT)).status is OK
            result = await used.run(code, timeout)
            if used.alive:
                # Whatever this gives, it is the cell's own affair.
                await used.run("before", 1.0)
            return result
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(used.end)

    def _started(self) -> Interpreter:
        first = Box(self._sandbox).first
        if not self._forked:
            return first
        try:
            return first.fork()
        finally:
            first.end()


@pytest.mark.parametrize("forked", [False, True])
def test_every_hostile_program_is_contained_as_a_cell(sandbox: BubblewrapSandbox, forked: bool) -> None:
    programs = [program for program in hostile.PROGRAMS if program.name not in LEFT_OUT]
    if os.uname().machine == "x86_64":
        programs += hostile.X86_64_ONLY
    also = {name: frozenset({status}) for name, status in OTHERS.items()}
    seconds = {}
    if forked:
        also |= {name: frozenset({SandboxStatus.KILLED}) for name in WITHOUT_STATUS}
        # A child that outlives it holds the channel open, until its time is over.
        also["runaway"] = frozenset({TIMEOUT})
        seconds["runaway"] = hostile.SHORT
    attack(
        AmongCells(sandbox, forked),
        [
            replace(
                program,
                statuses=program.statuses | also.get(program.name, frozenset()),
                timeout=seconds.get(program.name, program.timeout),
            )
            for program in programs
        ],
    )


def ran(used: Interpreter, code: str, timeout: float = 20.0) -> str:
    result = anyio.run(used.run, code, timeout)
    return f"{result.stdout}{result.stderr}" if result.status is OK else f"{result.status.value}: {result.stderr}"


def test_names_and_files_stay_and_a_cell_shows_what_a_notebook_would(cells: Interpreter) -> None:
    assert ran(cells, "x = [1]\nopen('a', 'w').write('kept')") == "4\n"
    assert ran(cells, "x.append(2)\nprint(open('a').read())\nx") == "kept\n[1, 2]\n"
    assert ran(cells, "import os\nos.system('echo from a child')") == "from a child\n0\n"
    assert ran(cells, "def f():\n    raise ValueError('no')") == ""
    # The line of this cell, not that of the function.
    assert ran(cells, "\n\nf()") == "error: ValueError: no (line 3)"
    assert ran(cells, "import inspect\nprint(inspect.getsource(f))") == "def f():\n    raise ValueError('no')\n"
    assert ran(cells, "exit()") == "" and ran(cells, "raise SystemExit('why')") == "error: SystemExit: why (line 1)"
    assert ran(cells, "if os.fork() == 0: print('child')\nelse: os.wait()\nx") == "child\n[1, 2]\n[1, 2]\n"
    assert ran(cells, "x") == "[1, 2]\n"
    assert ran(cells, "'\ud800'").startswith("error: UnicodeEncodeError")
    assert ran(cells, "y = '" + "a" * 3_000_000 + "'\nlen(y)") == "3000000\n"
    assert ran(cells, "b = bytearray(1 << 30)").startswith("memory_limit")
    assert ran(cells, "x") == "[1, 2]\n"


def test_the_channel_is_the_only_descriptor_more_and_leads_nowhere(cells: Interpreter) -> None:
    ran(
        cells,
        "import os, socket, subprocess\nmore = [n for n in range(3, 1024) if os.path.exists(f'/proc/self/fd/{n}')]",
    )
    assert ran(cells, "[os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in more]") == "['socket']\n"
    listed = "subprocess.run(['/bin/ls', '/proc/self/fd'], stdout=-1, text=True, close_fds=False).stdout.split()"
    assert ran(cells, listed) == "['0', '1', '2', '3']\n"
    # What it sends there can only spoil its own answers.
    ran(cells, "s = socket.socket(fileno=os.dup(more[0]))")
    forged = "s.sendall((1 << 40).to_bytes(8, 'big'))\nsocket.send_fds(s, [b'x'], [1])"
    assert ran(cells, forged).startswith("killed")
    assert not cells.alive


def test_between_cells_nothing_moves_and_in_the_next_one_it_goes_on(cells: Interpreter) -> None:
    ran(cells, "import os, threading, time\nn = 0\ndef count():\n    global n\n    while True: n += 1\n"
        "threading.Thread(target=count, daemon=True).start()\n"
        "r, w = os.pipe()\nos.set_blocking(r, False)\n"
        "if os.fork() == 0:\n    while True:\n        os.write(w, b'x')\n        time.sleep(0.001)")  # fmt: skip
    ran(cells, "before = n\nos.read(r, 1 << 20)")
    first = cells._box.running.first
    assert first is not None
    used = _processor(first)
    time.sleep(0.5)
    assert _processor(first) == used
    assert ran(cells, "time.sleep(0.1)\nn > before, len(os.read(r, 1 << 20)) < 300") == "(True, True)\n"


def _processor(first: int) -> list[str]:
    children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    return [" ".join(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]) for child in children]


def test_after_a_cell_that_had_to_be_killed_the_session_is_over(sandbox: BubblewrapSandbox) -> None:
    for code, status in (
        ("while True: pass", "timeout"),
        ("while True: print('x' * 9999)", "output_limit"),
        ("import os\nos.kill(os.getpid(), 9)", "killed"),
        ("import os\nos._exit(3)", "error"),
    ):
        used = Box(sandbox).first
        assert ran(used, code, 0.5).startswith(status)
        assert not used.alive
        assert ran(used, "1").startswith("infrastructure_error")


def test_a_session_that_is_killed_from_outside_is_told_from_one_that_ended_itself(sandbox: BubblewrapSandbox) -> None:
    used = Box(sandbox).first
    used._box.running.process.kill()
    used._box.running.process.wait()
    assert ran(used, "1").startswith("infrastructure_error")
    with pytest.raises(SandboxLost):
        used.fork()
    assert used.gone()


def test_forks_have_names_output_and_files_of_their_own(sandbox: BubblewrapSandbox) -> None:
    first = Box(sandbox).first
    one = first.fork()
    first.end()
    one.seed(5)
    ran(one, "import random, os\nx = [0]\ng = iter(range(9))\nnext(g)")
    ran(one, "os.mkdir('sub')\nos.chdir('sub')\nopen('a', 'w').write('one')")
    other = one.fork()
    ran(one, "x.append(1)\nopen('a', 'w').write('changed')")
    assert ran(other, "print(x, open('a').read(), os.path.basename(os.getcwd()))") == "[0] one sub\n"
    assert ran(one, "x, open('a').read()") == "([0, 1], 'changed')\n"
    assert ran(one, "random.random(), next(g)") == ran(other, "random.random(), next(g)")
    assert ran(other, "while True: pass", 0.3).startswith("timeout") and not other.alive
    third = one.fork()
    one.end()
    assert ran(third, "x") == "[0, 1]\n"
    third.end()


def test_cells_and_forks_of_one_sandbox_run_at_once(sandbox: BubblewrapSandbox) -> None:
    first = Box(sandbox).first
    forks = [first.fork() for _ in range(4)]
    first.end()
    results: list[str] = []

    async def one(used: Interpreter, number: int, depth: int) -> None:
        for _ in range(4):
            results.append((await used.run(f"import time\ntime.sleep(0.01)\nprint({number})", 20)).stdout)
        if depth:
            below = await anyio.to_thread.run_sync(used.fork)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one, below, number, depth - 1)
                tasks.start_soon(one, used, number, 0)
            below.end()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number, fork in enumerate(forks):
                tasks.start_soon(one, fork, number, 2)

    anyio.run(main)
    assert sorted(results) == sorted(f"{number}\n" for number in range(4) for _ in range(20))
    for each in forks:
        each.end()


@pytest.mark.parametrize("forked", [False, True])
def test_storms_of_cancelled_cells_leave_nothing(sandbox: BubblewrapSandbox, forked: bool) -> None:
    marker = f"cells-{os.getpid()}-{forked}"
    code = f"import os\nif os.fork() == 0: os.execv('/bin/sleep', [{marker!r}, '60'])\nwhile True: pass"
    among = AmongCells(sandbox, forked)

    async def storm(number: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(among.run, code, 60)
            with anyio.move_on_after(0.1 * number):
                await anyio.sleep_forever()
            tasks.cancel_scope.cancel()

    with nothing_left(among):
        for number in range(6):
            anyio.run(storm, number)
        assert processes_with(marker, 5) == []


def test_memory_that_a_session_holds_counts_over_its_cells(sandbox: BubblewrapSandbox) -> None:
    small = BubblewrapSandbox(SandboxLimits(memory_total=200 << 20))
    used = Box(small).first
    hold = "import os, time\nif os.fork() == 0:\n    b = b'x' * (90 << 20)\n    time.sleep(600)\ntime.sleep(0.5)"
    texts = [ran(used, hold) for _ in range(3)]
    assert texts[0] == "" and "memory_limit" in texts[2] + texts[1]
    used.end()


def test_a_child_that_was_stopped_goes_on_in_the_next_one(cells: Interpreter) -> None:
    ran(cells, "import os, signal, threading\nx = 1")
    stops = "child = os.fork()\nif not child:\n    os.kill(os.getpid(), signal.SIGSTOP)\n    os._exit(0)\n"
    assert ran(cells, stops + "_ = os.waitpid(child, os.WUNTRACED)") == ""
    assert ran(cells, "os.waitpid(child, 0)[1], x") == "(0, 1)\n"
