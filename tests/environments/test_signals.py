"""A process that is told to end closes its worlds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORK = """
import sys
import time
from pathlib import Path

import aepo
from aepo import config
from tests import tiny

folder = Path(sys.argv[1])


class Place:
    def reset(self, id: str) -> None:
        self.file = folder / f"{id}-{time.monotonic_ns()}"
        self.file.touch()

    def search(self, query: str) -> str:
        '''Wait.

        Args:
            query: Anything.
        '''
        (folder / "asked").touch()
        while not (folder / "stop").exists():
            time.sleep(0.05)
        return "a"

    def close(self) -> None:
        self.file.unlink()


task = aepo.Task("places", tiny.samples(4), reward=tiny.early, system="", environment=aepo.environment(Place))
given = config.load(None, tiny.settings(folder / "run", sys.argv[2]))
aepo.evaluate(sys.argv[2], task, samples=4, config=given)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_all_worlds(how: signal.Signals, tmp_path: Path, model_folder: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORK)
    worlds = tmp_path / "worlds"
    worlds.mkdir()
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, script, worlds, model_folder]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not (worlds / "asked").exists():
        assert process.poll() is None, process.communicate()[0].decode()
        time.sleep(0.05)
    process.send_signal(how)
    (worlds / "stop").touch()
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode != 0
    assert {path.name for path in worlds.iterdir()} <= {"asked", "stop", "run"}, output
