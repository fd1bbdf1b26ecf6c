"""A command under the guard ends with what it started, and its folder with it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from aepo.process.guarded import Guarded

PARENT = """
import os, subprocess, time
print(os.environ["NAME"], subprocess.Popen(["sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def test_it_ends_with_all_that_it_started(tmp_path: Path) -> None:
    folder, log = tmp_path / "own", tmp_path / "log"
    folder.mkdir()
    with log.open("wb") as output:
        guarded = Guarded([sys.executable, "-c", PARENT], 5.0, {"NAME": "child"}, folder, output=output)
    last = time.monotonic() + 30
    while not log.read_text().endswith("\n"):
        assert time.monotonic() < last
        time.sleep(0.02)
    name, child = log.read_text().split()
    assert name == "child" and guarded.status is None
    os.kill(int(child), 0)
    guarded.end()
    guarded.wait(30)
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(child), 0)


def test_its_status_tells_how_it_ended() -> None:
    for program, status in (("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)):
        guarded = Guarded([sys.executable, "-c", program], 1.0, {})
        guarded.wait(30)
        assert guarded.status == status
