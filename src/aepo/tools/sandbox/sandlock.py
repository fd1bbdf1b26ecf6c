"""The sandlock backend: Landlock and seccomp from an ordinary wheel, neither root nor user namespaces.

Needs Linux 6.12 or later with Landlock ABI 6. Each call forks from this process and is supervised by a thread of it.

Not contained:
- Holes in the kernel it shares with the host.
- Process numbers and the names of system files are the host's (/usr and the interpreter are readable; /proc is not).
- The program keeps the caller's user id. When that is root, capabilities are dropped before its first line.
- Time: it may use all cores until its limit.
- If the host process is killed with SIGKILL, a daemon that the program detached may outlive it, still confined.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aepo.tools.sandbox.base import Limits, SandboxResult
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command, further_paths, readable_paths
from aepo.tools.sandbox.capture import End, Stop, capture, in_thread
from aepo.tools.sandbox.outcome import failure, outcome

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_REAP_SECONDS = 10.0


class SandlockSandbox:
    """Runs each program in its own sandlock sandbox and scratch folder; what it writes is dropped."""

    name = "sandlock"

    def __init__(self, limits: Limits | None = None, readable: Sequence[Path] = ()) -> None:
        """Take the limits, and the folders that programs may read besides the system's.

        Raises:
            FileNotFoundError: A folder does not exist.
            ImportError: sandlock is not installed, or its library does not load here.
        """
        import sandlock  # noqa: F401

        self.limits = limits or Limits()
        self._readable = [str(path) for path in (*readable_paths(), *further_paths(readable))]
        self._command = command(self.limits, drop=os.geteuid() == 0)

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`."""
        return await in_thread(partial(self._run, code, timeout))

    def _run(self, code: str, timeout: float, stop: Stop) -> SandboxResult:
        started = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix="aepo-", ignore_cleanup_errors=True) as folder:
                return self._supervise(Path(folder), code, started, timeout, stop)
        except Exception as error:
            return failure(error, time.monotonic() - started)

    def _supervise(self, folder: Path, code: str, started: float, timeout: float, stop: Stop) -> SandboxResult:
        from sandlock import ExitReason, StdioMode

        pipe = StdioMode.PIPED
        with self._policy(folder).popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            exited = os.pidfd_open(process.pid)
            try:
                stdin = os.dup(process.stdin.fileno())
                process.stdin.close()
                source = code.encode("utf-8", "surrogatepass")
                streams = (process.stdout.fileno(), process.stderr.fileno())
                captured = capture(stdin, *streams, exited, source, timeout, self.limits, stop)
                if captured.end is not End.EXIT:
                    process.kill()
                result = process.wait(timeout=_REAP_SECONDS)
            finally:
                os.close(exited)
        died = result.reason is not ExitReason.EXITED
        code_or_signal = -result.signal if result.signal > 0 else None if died else result.exit_code
        return outcome(captured, code_or_signal, died, time.monotonic() - started)

    def _policy(self, folder: Path) -> Any:
        from sandlock import BranchAction, Sandbox

        work, written = folder / "work", folder / "written"
        work.mkdir()
        written.mkdir()
        return Sandbox(
            fs_readable=self._readable + [d for d in _DEVICES if os.path.exists(d)],
            fs_writable=[str(work), "/dev/null"],
            cwd=str(work),
            # Writes go to a copy with a quota, thrown away at the end.
            workdir=str(work),
            fs_storage=str(written),
            max_disk=self.limits.disk,
            on_exit=BranchAction.ABORT,
            on_error=BranchAction.ABORT,
            clean_env=True,
            env=ENVIRONMENT,
            # All processes together; a single one meets its own limit before, as a MemoryError it can report.
            max_memory=self.limits.memory + (128 << 20),
            max_processes=self.limits.processes,
            max_open_files=self.limits.files,
            no_coredump=True,
        )
