"""What runs in the background runs once, to its end, and its error is told once to who asks."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from aepo.process.background import Background


def test_the_caller_goes_on_until_it_waits() -> None:
    goes, work, done = threading.Event(), Background("work"), []
    work.start(lambda: (goes.wait(), done.append(threading.current_thread().name)))
    work.check()
    assert not done
    goes.set()
    work.wait()
    assert [name.startswith("work") for name in done] == [True]
    work.wait()


def test_one_piece_of_work_begins_when_the_one_before_has_ended() -> None:
    work, order = Background("work"), []
    for number in range(5):
        work.start(lambda number=number: order.append(number))
    work.wait()
    assert order == list(range(5))


@pytest.mark.parametrize("ask", ["check", "wait", "start"])
def test_an_error_is_raised_once_where_the_caller_asks_next(ask: str) -> None:
    work, ended, started = Background("work"), threading.Event(), []

    def fail() -> None:
        try:
            raise OSError("no room")
        finally:
            ended.set()

    work.start(fail)
    ended.wait()
    with pytest.raises(OSError, match="no room"):
        while ask == "check":
            work.check()
        if ask == "wait":
            work.wait()
        work.start(lambda: started.append(1))
    assert not started, "what follows on a failure is not begun"
    work.check()
    work.start(lambda: started.append(1))
    work.wait()
    assert started


def test_python_does_not_end_before_the_work_has() -> None:
    code = """
import sys, threading
from aepo.process.background import Background
ended = threading.Event()
def work():
    ended.wait()
    print("written")
Background("work").start(work)
threading.Timer(0.2, ended.set).start()
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "written\n")
