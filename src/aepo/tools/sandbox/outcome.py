"""From how reading stopped and how the process ended to a `SandboxResult`."""

from __future__ import annotations

from aepo.tools.sandbox.base import SandboxResult, SandboxStatus
from aepo.tools.sandbox.bootstrap import READY
from aepo.tools.sandbox.capture import Captured, End

_ENDS = {End.TIMEOUT: SandboxStatus.TIMEOUT, End.OUTPUT: SandboxStatus.OUTPUT_LIMIT, End.STOPPED: SandboxStatus.KILLED}


def outcome(captured: Captured, returncode: int | None, died: bool, seconds: float) -> SandboxResult:
    """Name the end of a program.

    Args:
        captured: What was read.
        returncode: Exit status, None if it has none.
        died: Whether a signal or a limit killed the program.
        seconds: Wall time.
    """
    stderr = captured.stderr.decode("utf-8", "replace")
    if not captured.stdout.startswith(READY):
        return SandboxResult(SandboxStatus.INFRASTRUCTURE, "", stderr, None, seconds)
    stdout = captured.stdout.removeprefix(READY).decode("utf-8", "replace")
    if captured.end is not End.EXIT:
        status = _ENDS[captured.end]
    elif died:
        status = SandboxStatus.KILLED
    else:
        status = SandboxStatus.OK if returncode == 0 else SandboxStatus.ERROR
    return SandboxResult(status, stdout, stderr, returncode, seconds)


def failure(error: BaseException, seconds: float) -> SandboxResult:
    """The sandbox could not start."""
    return SandboxResult(SandboxStatus.INFRASTRUCTURE, "", f"{type(error).__name__}: {error}", None, seconds)
