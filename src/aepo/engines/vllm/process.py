"""Runs a vLLM server as a process of this machine. It ends with the process that started it, even if that is killed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from aepo.engines.vllm.control import Control, VllmError
from aepo.process import guard

GRACE = 10.0
"""Seconds that vLLM has to end by itself; a killed vLLM leaves shared memory behind."""
POLL = 0.5
_ROOM = re.compile(
    r"out of memory|No available memory|less than desired GPU memory|free memory on device", re.IGNORECASE
)
_MEMORY_SETTINGS = "vllm.gpu_memory_utilization, rollout.max_tokens and rollout.max_sequences"


def private_folder() -> Path:
    """Make a folder that only this user can read, in memory if possible."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="aepo-vllm-", dir=memory if os.access(memory, os.W_OK) else None))


class VllmServer:
    """One vLLM server.

    Attributes:
        control: Controls the server.
        folder: The server's own folder, in memory if there is room, else on disk; it is removed with the server.
        log: The file of the server's output.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], port: int, log: Path) -> None:
        """Start the server; call `wait` before its first use.

        Args:
            command: The program and its arguments. Each "{folder}" in them stands for the server's folder.
            variables: Environment variables besides those of this process; "{folder}" as in `command`.
            port: The port of 127.0.0.1 where it listens.
            log: The file for its output.
        """
        self.control, self.log = Control(f"http://127.0.0.1:{port}"), log
        self.folder = private_folder()
        self._command = [part.replace("{folder}", str(self.folder)) for part in command]
        self._variables = {name: value.replace("{folder}", str(self.folder)) for name, value in variables.items()}
        self._start()

    def _start(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(Path(__file__).with_name("worker.py"), self.folder / "aepo_vllm_worker.py")
        lifeline, self._held = os.pipe()
        try:
            guarded = [str(lifeline), "0", str(GRACE), str(self.folder), *self._command]
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", guard.__file__, *guarded],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self._variables},
                    start_new_session=True,
                    pass_fds=[lifeline],
                )
        except BaseException:
            os.close(self._held)
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            os.close(lifeline)

    def ended(self) -> bool:
        """Whether its process has ended, or ends within some seconds, because a part of it may have died before it."""
        end = time.monotonic() + GRACE
        while self._process.poll() is None and not self.control.alive() and time.monotonic() < end:
            time.sleep(POLL)
        return self._process.poll() is not None

    def wait(self, seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            VllmError: The server ended, or took too long.
        """
        end = time.monotonic() + seconds
        while not self.control.alive():
            if self._process.poll() is not None:
                raise VllmError(f"vLLM does not start: {self._reason()}; all that it printed is in {self.log}")
            if time.monotonic() > end:
                raise VllmError(
                    f"vLLM does not answer after {seconds:g} s: raise vllm.start_timeout, or read {self.log}"
                )
            time.sleep(POLL)

    def move_log(self, to: Path) -> None:
        """Move the output so far to another file, where the server prints from now on."""
        with suppress(OSError):
            os.replace(self.log, to)
            self.log = to

    def restart(self) -> None:
        """Start another process in place of this one; call `wait` before its first use."""
        self.close()
        self._start()

    def close(self) -> None:
        """End the server and all processes that it started, and remove its folder."""
        with suppress(OSError):
            os.close(self._held)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _reason(self) -> str:
        """The last error that the server printed, in one line."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        told = next((line for line in reversed(lines) if re.search(r"(Error|Exception)\b.*: ?\S", line)), "")
        told = told or (lines[-1] if lines else "it printed nothing")
        told = re.sub(r"^(\([^)]*\) )?((ERROR|INFO|WARNING) \S+ \S+ \[[^]]*\] ?)?", "", told)[:300]
        return f"{told} (lower one of {_MEMORY_SETTINGS})" if _ROOM.search(text) else told
