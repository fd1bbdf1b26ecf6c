"""Runs a vLLM server as a process of this machine. It ends with the process that started it, even if that is killed."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from aepo.engines.vllm.control import Control, VllmError
from aepo.process import guard

GRACE = 30.0
"""Seconds that vLLM has to end by itself; a killed vLLM leaves shared memory behind."""
SETTLE = 3.0
"""Seconds that a server may seem well after a part of it has died."""
POLL = 0.5
SHORT_OF_MEMORY = {
    r"less than (desired GPU memory|the engine's budget)": "lower vllm.gpu_memory_utilization",
    r"No available memory for the cache": "raise vllm.gpu_memory_utilization",
    r"larger than the available KV cache": "lower rollout.max_tokens, or raise vllm.gpu_memory_utilization",
    r"out of memory": "lower rollout.max_sequences or vllm.gpu_memory_utilization",
}
"""What vLLM says when memory is short at its start, and which setting to change; the first that matches counts."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user can read, in memory if possible; it goes with this process, even a killed one."""
    folder = _folder()
    keeper, lifeline = _guarded(["sleep", "infinity"], folder, subprocess.DEVNULL, {})
    try:
        yield folder
    finally:
        _end(keeper, lifeline, folder)


class VllmServer:
    """One vLLM server, with a folder of its own, which is removed with it."""

    def __init__(self, command: Callable[[Path], tuple[list[str], dict[str, str]]], log: Path) -> None:
        """Start the server; call `wait` before its first use.

        Args:
            command: Makes the program with its arguments, and environment variables, for the server's folder. The
                program listens on the file `socket` there.
            log: The file for the server's output.
        """
        self.folder, self.log = _folder(), log
        self.control = Control("http://vllm", self.folder / "socket")
        try:
            self._command, self._variables = command(self.folder)
            self._start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _start(self) -> None:
        shutil.copy(Path(__file__).with_name("worker.py"), self.folder / "aepo_vllm_worker.py")
        with self.log.open("ab") as output:
            self._process, self._lifeline = _guarded(self._command, self.folder, output, self._variables)

    def wait(self, seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            VllmError: The server ended, or took too long.
        """
        end = time.monotonic() + seconds
        while not self.control.alive():
            if (status := self._process.poll()) is not None:
                killed = f"killed by signal {status - 128}; " if status > 128 else ""
                raise VllmError(
                    f"vLLM does not start: {killed}{_reason(self.log)}; all that it printed is in {self.log}"
                )
            if time.monotonic() > end:
                raise VllmError(
                    f"vLLM does not answer after {seconds:g} s: raise vllm.start_timeout, or read {self.log}"
                )
            time.sleep(POLL)
        threading.Thread(target=self._watch, args=(self._process, self._lifeline), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes], lifeline: IO[bytes]) -> None:
        """End a server that listens no more. With a dead engine it waits for its connections, and they for replies."""
        while process.poll() is None:
            time.sleep(POLL)
            with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
                try:
                    probe.connect(str(self.folder / "socket"))
                except (ConnectionRefusedError, FileNotFoundError):
                    lifeline.close()

    def move_log(self, to: Path) -> None:
        """Move the output so far to another file, where the server prints from now on."""
        with suppress(OSError):
            os.replace(self.log, to)
            self.log = to

    def restart(self) -> bool:
        """Start it again if it has ended, or is not well; a part of it may have died a moment ago.

        Returns:
            Whether it had; then call `wait` before its next use.
        """
        end = time.monotonic() + SETTLE
        while self._process.poll() is None and self.control.alive():
            if time.monotonic() > end:
                return False
            time.sleep(POLL)
        self.close()
        self.folder.mkdir(mode=0o700)
        self._start()
        return True

    def close(self) -> None:
        """End the server and all processes that it started, and remove its folder."""
        _end(self._process, self._lifeline, self.folder)


def _folder() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="aepo-vllm-", dir=memory if os.access(memory, os.W_OK) else None))


def _guarded(
    command: Sequence[str], folder: Path, output: int | IO[bytes], variables: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start a command that ends with this process, and the folder with it; returns its guard and the lifeline."""
    read, lifeline = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(read), "0", str(GRACE), str(folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,
            pass_fds=[read],
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(read)
    return process, open(lifeline, "wb")


def _end(process: subprocess.Popen[bytes], lifeline: IO[bytes], folder: Path) -> None:
    lifeline.close()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _reason(log: Path) -> str:
    """The last error that a server printed, in one line, and the setting to change if its memory is short."""
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if re.search(r"(Error|Exception)\b.*: ?\S", line)), "")
    told = told or (lines[-1] if lines else "it printed nothing")
    told = re.sub(r"^(\([^)]*\) )?((ERROR|INFO|WARNING) \S+ \S+ \[[^]]*\] ?)?", "", told)[:300]
    change = next((way for said, way in SHORT_OF_MEMORY.items() if re.search(said, text, re.IGNORECASE)), None)
    return told if change is None else f"{told} ({change})"
