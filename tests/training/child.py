"""The command line in a process of its own, for tests that stop or kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import aepo

ROOT = Path(__file__).parents[2]


class Child:
    """The command line in a process of its own, which waits at a chosen moment."""

    def __init__(self, folder: Path, place: str, number: int, arguments: list[str]) -> None:
        self.pipe = folder / f"{place}-{number}"
        os.mkfifo(self.pipe)
        os.mkfifo(f"{self.pipe}.go")
        script = [sys.executable, str(ROOT / "tests" / "training" / "stopped.py"), place, str(number), str(self.pipe)]
        paths = os.pathsep.join([str(Path(aepo.__file__).parents[1]), str(ROOT)])
        self.process = subprocess.Popen(
            [*script, *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # A child that dies before its moment must not leave the reader of its pipe waiting.
        threading.Thread(target=self._unblock, daemon=True).start()
        assert self.pipe.read_text() == "here", self.process.communicate()[1]

    def _unblock(self) -> None:
        self.process.wait()
        for pipe in (self.pipe, f"{self.pipe}.go"):
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))

    def interrupt(self, *signals: signal.Signals) -> tuple[int, str, str]:
        """Ctrl-C or other signals; exit code, output and errors."""
        for number in signals or (signal.SIGINT,):
            self.process.send_signal(number)
        Path(f"{self.pipe}.go").write_text("go")
        out, err = self.process.communicate()
        return self.process.returncode, out, err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
