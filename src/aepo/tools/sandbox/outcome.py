"""Makes a `SandboxResult` of the captured output and the end of the process."""

from __future__ import annotations

import re
import signal

from aepo.tools.sandbox.base import SandboxResult, SandboxStatus
from aepo.tools.sandbox.bootstrap import READY
from aepo.tools.sandbox.capture import Captured, End

_ENDS = {
    End.TIMEOUT: SandboxStatus.TIMEOUT,
    End.OUTPUT: SandboxStatus.OUTPUT_LIMIT,
    End.MEMORY: SandboxStatus.MEMORY_LIMIT,
    End.STOPPED: SandboxStatus.INFRASTRUCTURE_ERROR,
}
FAULTS = frozenset(
    {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL, signal.SIGSEGV}
    | {signal.SIGTERM, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGSYS}
)
"""Signals by which a kernel or a service ends a program. A program with another signal has ended itself."""
# Python's own error, and errors of libraries that derive from it (numpy._core._exceptions._ArrayMemoryError).
_MEMORY_ERROR = re.compile(r"(\w+\.)*\w*MemoryError\b")


def outcome(captured: Captured, returncode: int | None, died: bool, seconds: float) -> SandboxResult:
    """Make the result of a program.

    Args:
        captured: The output and the reason why reading stopped.
        returncode: Exit status, or minus the signal; None if there is none.
        died: True if a signal or a limit killed the program.
        seconds: Wall time.
    """
    stderr = captured.stderr.decode("utf-8", "replace")
    if not captured.stdout.startswith(READY):
        reason = stderr if stderr.strip() else f"it ended before the program began (exit status {returncode})"
        return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, "", reason, None, seconds)
    stdout = captured.stdout.removeprefix(READY).decode("utf-8", "replace")
    left_out = captured.characters - len(READY) - len(stdout)
    if left_out > 0 and stdout.endswith("\ufffd"):
        # The limit may have cut a character in two, so the last one does not count as kept.
        stdout, left_out = stdout[:-1], left_out + 1
    status = ended(returncode, died, stderr) if captured.end is End.EXIT else _ENDS[captured.end]
    return SandboxResult(status, stdout, stderr, returncode, seconds, max(0, left_out))


def ended(returncode: int | None, died: bool, stderr: str) -> SandboxStatus:
    """Return the status of a program that no limit ended; a `MemoryError` in its last line counts as a memory limit."""
    if died:
        return SandboxStatus.KILLED
    if returncode == 0:
        return SandboxStatus.OK
    last = stderr.rstrip().rpartition("\n")[2]
    return SandboxStatus.MEMORY_LIMIT if _MEMORY_ERROR.match(last) else SandboxStatus.ERROR


def failure(error: BaseException, seconds: float) -> SandboxResult:
    """Make the result for a sandbox that could not start."""
    text = f"{type(error).__name__}: {error}"
    return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, "", text, None, seconds)
