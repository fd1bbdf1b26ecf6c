"""sandlock in a small process of its own.

sandlock forks the process that calls it. One that holds a model pays for that with every page that it writes to next;
this one holds next to nothing. And should the host process be killed, this one sees the end of its input and takes
every running program with it.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from aepo.tools.sandbox.base import Limits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.sandlock import SandlockSandbox


class SandlockWorker:
    """Runs programs as `SandlockSandbox` does, from a process that is started with the first call."""

    name = "sandlock"

    def __init__(self, limits: Limits | None = None, readable: Sequence[Path] = ()) -> None:
        """Take the limits, and the folders that programs may read besides the system's.

        Raises:
            FileNotFoundError: A folder does not exist.
            ImportError: sandlock is not installed, or its library does not load here.
        """
        self.limits = SandlockSandbox(limits, readable).limits
        self._readable = [str(path) for path in readable]
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
            [sys.executable, "-m", "aepo.tools.sandbox.worker", json.dumps([asdict(self.limits), self._readable])],
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
    return SandboxResult(SandboxStatus.INFRASTRUCTURE, stderr=reason)


async def serve(limits: Limits, readable: Sequence[Path]) -> None:
    """Run what comes in, a JSON object a line, all at once; answer each with its number. Ends with its input."""
    sandbox = SandlockSandbox(limits, readable)
    scopes: dict[int, anyio.CancelScope] = {}

    def answer(number: int, result: SandboxResult) -> None:
        sys.stdout.buffer.write(json.dumps({"number": number, **asdict(result)}).encode() + b"\n")
        sys.stdout.buffer.flush()

    async def one(number: int, code: str, timeout: float) -> None:
        result = _lost("cancelled")
        with anyio.CancelScope() as scope:
            scopes[number] = scope
            result = await sandbox.run(code, timeout)
        del scopes[number]
        answer(number, result)

    async with anyio.create_task_group() as tasks:
        while line := await anyio.to_thread.run_sync(sys.stdin.buffer.readline):
            message = json.loads(line)
            if "cancel" in message:
                if message["cancel"] in scopes:
                    scopes[message["cancel"]].cancel()
                continue
            tasks.start_soon(one, message["number"], message["code"], message["timeout"])
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    _limits, _readable = json.loads(sys.argv[1])
    anyio.run(serve, Limits(**_limits), [Path(path) for path in _readable])
