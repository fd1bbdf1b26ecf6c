"""Runs sandlock in a small process of its own, the worker, whose parent is another small process, the keeper.

sandlock forks the process that calls it. After a fork, a process that holds a model must copy every page that it writes
to; the worker holds almost no memory. Every program ends, whichever process is killed:
- If the host process is killed, the worker sees the end of its input and ends all its programs.
- If the worker is killed, its programs become children of the keeper, which kills them.
- If the keeper is killed, the worker gets a signal and ends.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from aepo.tools.sandbox.base import SandboxLimits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.capture import START_SECONDS
from aepo.tools.sandbox.sandlock import SandlockSandbox
from aepo.tools.sandbox.supervised import PREFIX, waited

_log = logging.getLogger(__name__)

_SUBREAPER, _PARENT_DEATH_SIGNAL = 36, 1
_STUCK_SECONDS = START_SECONDS + 40.0
"""Time beyond a program's own: for its start, and for its end, for which sandlock has ten seconds twice."""
_END_SECONDS = 15.0


@dataclass(frozen=True)
class _Process:
    """The keeper's process.

    Attributes:
        popen: The process.
        outbox: Messages to write to it. A thread writes them, because event loops must not wait for a pipe.
        waiting: The future result of each call, by the call's number.
    """

    popen: subprocess.Popen[bytes]
    outbox: SimpleQueue[dict[str, Any] | None] = field(default_factory=SimpleQueue)
    waiting: dict[int, Future[SandboxResult]] = field(default_factory=dict)

    def write(self) -> None:
        assert self.popen.stdin is not None
        # If the process has died, `_read` sees it and answers all calls.
        with suppress(OSError), self.popen.stdin as stdin:
            while (message := self.outbox.get()) is not None:
                stdin.write(json.dumps(message).encode() + b"\n")
                stdin.flush()


class SandlockWorker:
    """Runs programs as `SandlockSandbox` does, in a process that the first call starts."""

    name = "sandlock"

    def __init__(self, limits: SandboxLimits | None = None, packages: str | Path | None = None) -> None:
        """Set the limits and the packages to allow (see `folders`).

        Raises:
            ValueError: There are no such packages.
            ImportError: sandlock is not installed, or its library does not load here.
        """
        self.limits = SandlockSandbox(limits, packages).limits
        self._packages = None if packages is None else str(packages)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._process: _Process | None = None
        atexit.register(self.close)

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`."""
        number, future = next(self._numbers), Future[SandboxResult]()
        with self._lock:
            try:
                if self._process is None or self._process.popen.poll() is not None:
                    self._process = self._start()
            except (OSError, RuntimeError):
                return _lost("the sandbox's process does not start")
            process = self._process
            process.waiting[number] = future
            # The model's code may hold a lone surrogate; JSON can carry it as an escape.
            process.outbox.put({"number": number, "code": code, "timeout": timeout})
        try:
            return await waited(future, partial(process.outbox.put, {"cancel": number}), timeout + _STUCK_SECONDS)
        except TimeoutError:
            return _lost("the sandbox's process did not answer in time")
        finally:
            self._retire(process, number)

    def close(self) -> None:
        """End the process and every program in it; the next call starts another one."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.outbox.put(None)
            try:
                process.popen.wait(2 * _END_SECONDS)
            except subprocess.TimeoutExpired:
                process.popen.terminate()
                process.popen.wait()

    def _retire(self, process: _Process, number: int) -> None:
        """Kill the process if the call is still not answered; its other calls are lost too."""
        with self._lock:
            if process.waiting.pop(number, None) is not None:
                _log.error("the sandbox's process is stuck, and is replaced")
                process.popen.terminate()
                if self._process is process:
                    self._process = None

    def _start(self) -> _Process:
        package = str(Path(__file__).parents[3])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        popen = subprocess.Popen(
            [sys.executable, "-m", "aepo.tools.sandbox.worker", json.dumps([asdict(self.limits), self._packages])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # In a session of its own this process does not get Ctrl-C; the host ends it when it is done with it.
            start_new_session=True,
        )
        process = _Process(popen)
        threading.Thread(target=self._read, args=(process,), name="sandlock results", daemon=True).start()
        threading.Thread(target=process.write, name="sandlock programs", daemon=True).start()
        return process

    def _read(self, process: _Process) -> None:
        assert process.popen.stdout is not None
        with process.popen.stdout:
            for line in process.popen.stdout:
                answer = json.loads(line)
                number = answer.pop("number")
                with self._lock:
                    future = process.waiting.pop(number, None)
                if future is not None:
                    future.set_result(SandboxResult(**{**answer, "status": SandboxStatus(answer["status"])}))
        process.popen.wait()
        process.outbox.put(None)
        with self._lock:
            lost = list(process.waiting.values())
            process.waiting.clear()
        for future in lost:
            future.set_result(_lost("the sandbox's process died"))


def _lost(reason: str) -> SandboxResult:
    return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, stderr=reason)


def serve(limits: SandboxLimits, packages: str | None) -> None:
    """Read programs from stdin, one JSON object a line, and run them at the same time until stdin ends.

    Each answer on stdout is a line with the number of its program.
    """
    sandbox = SandlockSandbox(limits, packages)
    running: dict[int, tuple[Future[SandboxResult], Callable[[], None]]] = {}
    writing = threading.Lock()

    def answer(number: int, future: Future[SandboxResult]) -> None:
        with writing:
            sys.stdout.buffer.write(json.dumps({"number": number, **asdict(future.result())}).encode() + b"\n")
            sys.stdout.buffer.flush()
        del running[number]

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "cancel" not in message:
                number = message["number"]
                running[number] = begun = sandbox.begin(message["code"], message["timeout"])
                begun[0].add_done_callback(partial(answer, number))
            elif found := running.get(message["cancel"]):
                found[1]()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        left = list(running.values())
        for _, cancel in left:
            cancel()
        # The wait has a limit, so that no program can keep this process alive.
        wait([future for future, _ in left], _END_SECONDS)


def keep(worker: int) -> int:
    """Wait for the worker's end, kill the programs that it left, and return its exit status.

    These programs have become children of this process. SIGTERM to this process kills the worker.
    """
    signal.signal(signal.SIGTERM, lambda *_: os.kill(worker, signal.SIGKILL))
    while (ended := os.waitpid(-1, 0))[0] != worker:
        pass
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(ended[1])
    while True:
        for thread in os.listdir("/proc/self/task"):
            for child in Path(f"/proc/self/task/{thread}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    for folder in Path(tempfile.gettempdir()).glob(PREFIX.format(worker) + "*"):
        shutil.rmtree(folder, ignore_errors=True)
    return abs(code)


def main() -> None:
    """Become the keeper, and fork the worker."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The worker needs about twelve descriptors for each program; the programs have a limit of their own.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _prctl(_SUBREAPER, 1)
    keeper = os.getpid()
    if worker := os.fork():
        os.closerange(0, 2)
        os._exit(keep(worker))
    _prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() == keeper:
        limits, packages = json.loads(sys.argv[1])
        serve(SandboxLimits(**limits), packages)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main()
