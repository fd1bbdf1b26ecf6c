"""sandlock in a small process of its own, under a keeper.

sandlock forks the process that calls it. One that holds a model pays for that with every page that it writes to next;
the worker holds next to nothing. Should the host process be killed, the worker sees the end of its input and takes
every running program with it. Should the worker be killed, its programs would go on without anybody to stop them: they
become children of the keeper, its parent, which kills them. Should the keeper be killed, the worker is told and ends.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from aepo.tools.sandbox.base import Limits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.sandlock import SandlockSandbox

_SUBREAPER, _PARENT_DEATH_SIGNAL = 36, 1


class SandlockWorker:
    """Runs programs as `SandlockSandbox` does, from a process that is started with the first call."""

    name = "sandlock"

    def __init__(self, limits: Limits | None = None, packages: str | Path | None = None) -> None:
        """Take the limits and the packages to allow; see `folders`.

        Raises:
            ValueError: There are no such packages.
            ImportError: sandlock is not installed, or its library does not load here.
        """
        self.limits = SandlockSandbox(limits, packages).limits
        self._packages = None if packages is None else str(packages)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[SandboxResult]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`."""
        number, future = next(self._numbers), Future[SandboxResult]()
        # A lone surrogate may stand in what a model wrote; JSON's escapes carry it.
        if not self._send(number, future, {"number": number, "code": code, "timeout": timeout}):
            return _lost("the sandbox's process does not start")
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            self._send(number, future, {"cancel": number})
            with anyio.CancelScope(shield=True):
                await asyncio.wrap_future(future)
            raise

    def close(self) -> None:
        """End the process, and with it every program; the next call starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.wait()

    def _send(self, number: int, future: Future[SandboxResult], message: dict[str, Any]) -> bool:
        with self._lock:
            self._waiting[number] = future
            try:
                if self._process is None or self._process.poll() is not None:
                    self._process = self._start()
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps(message).encode() + b"\n")
                self._process.stdin.flush()
            except OSError:
                self._waiting.pop(number, None)
                return False
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        package = str(Path(__file__).parents[3])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-m", "aepo.tools.sandbox.worker", json.dumps([asdict(self.limits), self._packages])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is for the host, which ends this process when it is done with it.
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(process,), name="sandlock results", daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                answer = json.loads(line)
                number = answer.pop("number")
                with self._lock:
                    future = self._waiting.pop(number, None)
                if future is not None and not future.done():
                    future.set_result(SandboxResult(**{**answer, "status": SandboxStatus(answer["status"])}))
        process.wait()
        with self._lock:
            # Those of a process that was started since are not lost.
            lost = list(self._waiting.values()) if self._process in (None, process) else []
            if lost:
                self._waiting.clear()
        for future in lost:
            if not future.done():
                future.set_result(_lost("the sandbox's process died"))


def _lost(reason: str) -> SandboxResult:
    return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, stderr=reason)


async def serve(limits: Limits, packages: str | None) -> None:
    """Run what comes in, a JSON object a line, all at once; answer each with its number. Ends with its input."""
    sandbox = SandlockSandbox(limits, packages)
    scopes: dict[int, anyio.CancelScope] = {}

    def answer(number: int, result: SandboxResult) -> None:
        sys.stdout.buffer.write(json.dumps({"number": number, **asdict(result)}).encode() + b"\n")
        sys.stdout.buffer.flush()

    async def one(number: int, code: str, timeout: float) -> None:
        result = _lost("the sandbox's process was ended")
        with anyio.CancelScope() as scope:
            scopes[number] = scope
            ran = await sandbox.run(code, timeout)
            # A program that this process killed says nothing of itself.
            if not (scope.cancel_called or tasks.cancel_scope.cancel_called):
                result = ran
        del scopes[number]
        answer(number, result)

    async with anyio.create_task_group() as tasks:

        async def end_when_told() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()

        tasks.start_soon(end_when_told)
        while line := await anyio.to_thread.run_sync(sys.stdin.buffer.readline, abandon_on_cancel=True):
            message = json.loads(line)
            if "cancel" in message:
                if message["cancel"] in scopes:
                    scopes[message["cancel"]].cancel()
                continue
            tasks.start_soon(one, message["number"], message["code"], message["timeout"])
        tasks.cancel_scope.cancel()


def keep(worker: int) -> int:
    """Wait for the worker, then kill whatever it left, which has become this process's children; the exit status."""
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    while True:
        for thread in os.listdir("/proc/self/task"):
            for child in Path(f"/proc/self/task/{thread}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return abs(code)


def main() -> None:
    """Become the keeper, and fork the worker."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A dozen descriptors a program; the programs have a limit of their own.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _prctl(_SUBREAPER, 1)
    keeper = os.getpid()
    if worker := os.fork():
        os.closerange(0, 2)
        os._exit(keep(worker))
    _prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() == keeper:
        limits, packages = json.loads(sys.argv[1])
        anyio.run(serve, Limits(**limits), packages)
        # The thread that reads may still wait for a line.
        os._exit(0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


if __name__ == "__main__":
    main()
