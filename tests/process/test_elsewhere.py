"""Another process calls a function while this one goes on; its failures are told, and it never outlives its caller."""

from __future__ import annotations

import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from aepo.process.elsewhere import Elsewhere

PATIENCE = 60.0
"""Seconds after which what never comes is given up."""

CALLER = """
import os, signal, sys, time
from aepo.process.elsewhere import Elsewhere

# Without `if __name__ == "__main__"`, as users write scripts.
other = Elsewhere(time.sleep, "sleeps")
other.start(0)
other.wait()
other.start(float(sys.argv[1]))
for task in os.listdir("/proc/self/task"):
    print(open(f"/proc/self/task/{task}/children").read(), end="", flush=True)
print(flush=True)
"""

WAITER = """
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    time.sleep(600)
finally:
    other.close()
"""


def test_calls_are_made_in_order_by_a_process_that_ends_with_its_close(tmp_path: Path) -> None:
    other = Elsewhere(os.rename, "renames")
    (tmp_path / "0").write_text("moved")
    for number in range(3):
        other.start(tmp_path / f"{number}", tmp_path / f"{number + 1}")
    other.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    other.start(tmp_path / "3", tmp_path / "4")
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == ["4"], "a call that was begun is brought to its end"
    Elsewhere(os.rename, "renames").close()


def test_an_error_of_the_disk_comes_back_as_it_was_and_the_next_call_is_made(tmp_path: Path) -> None:
    other = Elsewhere(shutil.copyfile, "copies")
    (tmp_path / "here").write_text("text")
    other.start(tmp_path / "missing", tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*missing"):
        other.wait()
    other.start(tmp_path / "here", tmp_path / "copy")
    other.wait()
    assert (tmp_path / "copy").read_text() == "text"
    other.close()


def test_a_module_in_the_current_folder_does_not_hide_one_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pickle.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    other = Elsewhere(os.mkdir, "makes folders")
    other.start("made")
    other.close()
    assert (tmp_path / "made").is_dir()


def test_any_other_error_is_one_line() -> None:
    other = Elsewhere(operator.truediv, "divides")
    other.start(1, 0)
    with pytest.raises(RuntimeError) as error:
        other.wait()
    assert str(error.value) == "the process that divides failed: ZeroDivisionError: division by zero"
    other.close()


def test_a_process_that_is_killed_is_told_of_and_another_one_goes_on() -> None:
    before, other = children(), Elsewhere(os.kill, "kills")
    other.start(os.getpid(), 0)
    other.wait()
    (child,) = children() - before
    other.start(child, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"^the process that kills was killed by signal 9$"):
        other.wait()
    other.start(os.getpid(), 0)
    other.wait()
    other.close()
    assert children() == before


@pytest.mark.parametrize("seconds", ["0", "600"], ids=["between calls", "in a call"])
def test_it_ends_when_its_caller_is_killed(tmp_path: Path, seconds: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(CALLER + "time.sleep(600)")
    caller = started(script, seconds)
    other = int(caller.stdout.readline())
    caller.kill()
    caller.communicate()
    end = time.monotonic() + PATIENCE
    while lives(other):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_in_a_terminal_ends_the_caller_after_the_call(tmp_path: Path) -> None:
    script, kept = tmp_path / "script.py", tmp_path / "kept"
    script.write_text(CALLER + WAITER)
    caller = started(script, "1")
    other = int(caller.stdout.readline())
    os.killpg(caller.pid, signal.SIGINT)
    kept.write_text(caller.communicate()[1])
    assert caller.returncode != 0 and not lives(other)
    assert kept.read_text().count("Traceback") == 1, "the other process saw no Ctrl-C"


def started(script: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def lives(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
