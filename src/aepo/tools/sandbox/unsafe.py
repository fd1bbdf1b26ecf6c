"""No sandbox at all, for code that one would run by hand. It must be asked for by name; nothing falls back to it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path

from aepo.tools.sandbox.base import Limits, SandboxResult
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command
from aepo.tools.sandbox.capture import Stop, capture, in_thread
from aepo.tools.sandbox.outcome import failure, outcome
from aepo.tools.sandbox.packages import folders, fonts

_log = logging.getLogger(__name__)


class UnsafeNoSandbox:
    """Runs programs as ordinary processes of the user: they read its files, use its network, and may leave daemons.

    The time limit, the limits on output and those of a single process hold against mistakes, not against intent.
    """

    name = "unsafe_no_sandbox"

    def __init__(self, limits: Limits | None = None, packages: str | Path | None = None) -> None:
        """Take the limits and the packages to allow, and warn, once in a process.

        Raises:
            ValueError: There are no such packages.
        """
        self.limits = limits or Limits()
        found = folders(packages)
        self._command = command(self.limits, packages=found, fonts=fonts(found))
        _warn()

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """Run `code` in a fresh interpreter for at most `timeout` seconds; what it detached from itself stays."""
        try:
            return await in_thread(partial(self._run, code, timeout))
        except (OSError, RuntimeError) as error:
            return failure(error, 0.0)

    def _run(self, code: str, timeout: float, stop: Stop) -> SandboxResult:
        started = time.monotonic()
        try:
            with ExitStack() as stack:
                folder = stack.enter_context(
                    tempfile.TemporaryDirectory(prefix=f"aepo-{os.getpid()}-", ignore_cleanup_errors=True)
                )
                pipe = subprocess.PIPE
                process = subprocess.Popen(
                    self._command,
                    stdin=pipe,
                    stdout=pipe,
                    stderr=pipe,
                    env=ENVIRONMENT,
                    cwd=folder,
                    bufsize=0,
                    start_new_session=True,
                )
                stack.callback(_end, process)
                assert process.stdin and process.stdout and process.stderr
                exited = os.pidfd_open(process.pid)
                stack.callback(os.close, exited)
                stdin = os.dup(process.stdin.fileno())
                process.stdin.close()
                streams = (process.stdout.fileno(), process.stderr.fileno())
                source = code.encode("utf-8", "surrogatepass")
                captured = capture(stdin, *streams, exited, source, timeout, self.limits, stop)
        except Exception as error:
            return failure(error, time.monotonic() - started)
        return outcome(captured, process.returncode, process.returncode < 0, time.monotonic() - started)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@cache
def _warn() -> None:
    _log.warning(
        "unsafe_no_sandbox: programs of the model run as this user, with its files and its network. "
        "Only for models and questions that you trust; the run's records say that it was used"
    )
