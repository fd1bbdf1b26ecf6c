"""Runs a program a second time if the sandbox itself failed, which is not the program's fault."""

from __future__ import annotations

import logging

from aepo.tools.counts import count
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.types import ToolError

_log = logging.getLogger(__name__)


async def run_retried(sandbox: Sandbox, code: str, timeout: float, unavailable: str) -> SandboxResult:
    """Run a program, and run it once more if the sandbox failed; return the result, whatever the program did.

    Args:
        sandbox: The sandbox that runs it.
        code: The program.
        timeout: Seconds for each of the two tries.
        unavailable: The message for the model if both tries fail.

    Raises:
        ToolError: The sandbox failed twice.
    """
    result = await sandbox.run(code, timeout)
    if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
        _log.warning("%s failed, trying once more: %s", sandbox.name, result.stderr.strip()[-500:])
        count("retries")
        result = await sandbox.run(code, timeout)
    if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
        _log.error("%s failed twice: %s", sandbox.name, result.stderr.strip()[-500:])
        raise ToolError(unavailable)
    return result
