"""The vLLM server of a run: a process of this machine that the run starts, or a server of the user's.

Whatever the run starts ends with it, even if it is killed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aepo.engines.vllm.control import Control, VllmError
from aepo.process.guarded import Guarded

GRACE = 30.0
"""Seconds that vLLM has to end by itself; a killed vLLM leaves shared memory behind."""
SETTLE = 3.0
"""Seconds that a server may seem well after a part of it has died."""
POLL = 0.5
Command = Callable[[Path], tuple[list[str], dict[str, str]]]
"""Makes a program's command line and environment variables for its folder, where it listens on the file `socket`."""
SHORT_OF_MEMORY = {
    r"less than (desired GPU memory|the engine's budget)": "lower vllm.gpu_memory_utilization",
    r"No available memory for the cache": "raise vllm.gpu_memory_utilization",
    r"larger than the available KV cache": "lower rollout.max_tokens, or raise vllm.gpu_memory_utilization",
    r"out of memory": "lower rollout.max_sequences or vllm.gpu_memory_utilization",
}
"""What vLLM says when memory is short at its start, and which setting to change; the first that matches counts."""


class RunningServer:
    """A vLLM server that runs already, and a folder for the weights that it is handed.

    Attributes:
        control: The server's interface.
        folder: Only this user can read it; it is in memory if possible, and ends with this process.
        guarded: The process that was started.
    """

    def __init__(self, url: str) -> None:
        """Make the folder."""
        self.control, self.folder = Control(url), _private_folder()
        # The guard removes the folder when it ends.
        self.guarded = Guarded(["sleep", "infinity"], GRACE, {}, self.folder)

    def wait(self, seconds: float) -> None:
        """Do nothing, because the server runs."""

    def restart(self) -> bool:
        """Start nothing, because the server is the user's."""
        return False

    def move_log(self, to: Path) -> None:
        """Do nothing, because the server prints elsewhere."""

    def close(self) -> None:
        """End all processes that were started, and remove the folder."""
        self.guarded.end()
        self.guarded.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class StartedServer(RunningServer):
    """A vLLM server that this process starts and ends."""

    def __init__(self, command: Command, log: Path) -> None:
        """Start the server, which prints to the file `log`; call `wait` before its first use."""
        self.folder, self.log = _private_folder(), log
        self.control = Control("http://vllm", self.folder / "socket")
        self._command, self._variables = command(self.folder)
        self._segments: set[Path] = set()
        self._start()

    def _start(self) -> None:
        shutil.copy(Path(__file__).with_name("worker.py"), self.folder / "aepo_vllm_worker.py")
        with self.log.open("ab") as output:
            self.guarded = Guarded(self._command, GRACE, self._variables, self.folder, output=output)

    def wait(self, seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            VllmError: The server ended, or took too long.
        """
        end = time.monotonic() + seconds
        while not self.control.alive():
            if (status := self.guarded.status) is not None:
                raise VllmError(f"vLLM does not start: {_reason(self.log, status)}; all that it printed: {self.log}")
            if time.monotonic() > end:
                raise VllmError(f"vLLM does not answer in {seconds:g} s: raise vllm.start_timeout, or read {self.log}")
            time.sleep(POLL)
        self._segments = _segments(self.guarded.session)
        threading.Thread(target=self._watch, args=(self.guarded,), daemon=True).start()

    def _watch(self, guarded: Guarded) -> None:
        """End a server that listens no more. With a dead engine it waits for its connections, and they for replies."""
        while guarded.status is None:
            time.sleep(POLL)
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.folder / "socket")) in (errno.ECONNREFUSED, errno.ENOENT):
                    guarded.end()

    def move_log(self, to: Path) -> None:
        """Move the output so far to another file, where the server prints from now on."""
        with suppress(OSError):
            os.replace(self.log, to)
            self.log = to

    def close(self) -> None:
        """End it, and remove its folder and the shared memory that a killed part of it has left."""
        super().close()
        for segment in self._segments:
            segment.unlink(missing_ok=True)

    def restart(self) -> bool:
        """Start it again if it has ended, or is not well; a part of it may have died a moment ago.

        Returns:
            Whether it had; then call `wait` before its next use.
        """
        end = time.monotonic() + SETTLE
        while self.guarded.status is None and self.control.alive():
            if time.monotonic() > end:
                return False
            time.sleep(POLL)
        self.close()
        self.folder.mkdir(mode=0o700)
        self._start()
        return True


def _private_folder() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="aepo-vllm-", dir=memory if os.access(memory, os.W_OK) else None))


def _segments(session: int) -> set[Path]:
    """The shared memory of all processes of a session, where the system tells."""
    found: set[Path] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):  # a process that has ended meanwhile
            if os.getsid(int(maps.parent.name)) == session:
                found |= set(map(Path, re.findall(r"/dev/shm/psm_\w+", maps.read_text())))
    return found


def _reason(log: Path, status: int) -> str:
    """Why a server ended: the last error that it printed, in one line, and the setting to change if memory is short."""
    killed = f"killed by signal {status - 128}; " if status > 128 else ""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it printed nothing"]
    told = next((line for line in reversed(lines) if re.search(r"(Error|Exception)\b.*: ?\S", line)), lines[-1])
    told = re.sub(r"^(\([^)]*\) )?((ERROR|INFO|WARNING) \S+ \S+ \[[^]]*\] ?)?", "", told)[:300]
    change = next((way for said, way in SHORT_OF_MEMORY.items() if re.search(said, text, re.IGNORECASE)), None)
    return f"{killed}{told}" if change is None else f"{killed}{told} ({change})"
