"""What the processes of one program hold, seen from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aepo.tools.sandbox.memory import holds_more

MB = 1 << 20
HOLD = "import os, sys; held = bytearray(os.urandom(40 << 20)); print(1, flush=True); sys.stdin.read()"
IN_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"
SHARED = (
    "import os; held = bytearray(os.urandom(40 << 20)); os.fork() or os.fork(); print(1, flush=True); os.read(0, 1)"
)


@contextmanager
def started(program: str, lines: int = 1) -> Iterator[int]:
    """The number of a process that runs `program`, once it and its children have printed so many lines."""
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    for _ in range(lines):
        assert process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("program", [HOLD, IN_A_CHILD])
def test_a_process_and_all_below_it_count(program: str) -> None:
    with started(program) as number:
        assert holds_more(number, 40 * MB)
        assert not holds_more(number, 100 * MB)


def test_pages_that_forked_processes_share_count_once() -> None:
    with started(SHARED, lines=3) as number:
        assert not holds_more(number, 90 * MB)


def test_a_process_that_has_gone_holds_nothing() -> None:
    with started("print(1)") as number:
        pass
    assert not holds_more(number, 0)


def test_a_look_interns_no_process_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    interned: list[str] = []
    monkeypatch.setattr(sys, "intern", lambda word: interned.append(word) or word)
    with started(HOLD) as number:
        assert holds_more(number, MB, ("/tmp",))
        assert str(number) not in interned
