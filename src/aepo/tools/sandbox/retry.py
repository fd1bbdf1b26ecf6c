"""A second try for what is not the program's fault: the sandbox itself failed."""

from __future__ import annotations

import logging

from aepo.tools.counts import count
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.types import ToolError

_log = logging.getLogger(__name__)


async def run_retried(sandbox: Sandbox, code: str, timeout: float, unavailable: str) -> SandboxResult:
    """How a program ended, whatever it did; where its sandbox failed, how it ended in another one.

    Args:
        sandbox: Where it runs.
        code: The program.
        timeout: Seconds for each of the two tries.
        unavailable: What the model is told where both fail.

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
