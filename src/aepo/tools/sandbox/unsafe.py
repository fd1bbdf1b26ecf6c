"""Runs programs without a sandbox, for code that you would also run by hand. It is used only if its name is given."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command
from aepo.tools.sandbox.capture import Captured, StopFlag
from aepo.tools.sandbox.packages import folders, fonts
from aepo.tools.sandbox.supervised import PREFIX, Supervised

_log = logging.getLogger(__name__)


class UnsafeNoSandbox(Supervised):
    """Runs programs as ordinary processes of the user: they can read its files, use its network, and leave daemons.

    The limits on time, output and single processes stop mistakes, but not attacks. Processes that a program detaches go
    on.
    """

    name = "unsafe_no_sandbox"

    def __init__(self, limits: SandboxLimits | None = None, packages: str | Path | None = None) -> None:
        """Set the limits and the packages to allow, and warn once in each process.

        Raises:
            ValueError: There are no such packages.
        """
        self.limits = limits or SandboxLimits()
        found = folders(packages)
        self._command = command(self.limits, packages=found, fonts=fonts(found))
        _warn()

    def _supervise(self, code: bytes, timeout: float, stop: StopFlag) -> tuple[Captured, int | None, bool]:
        pipe = subprocess.PIPE
        with (
            tempfile.TemporaryDirectory(prefix=PREFIX.format(os.getpid()), ignore_cleanup_errors=True) as folder,
            subprocess.Popen(
                self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=ENVIRONMENT,
                cwd=folder,
                bufsize=0,
                start_new_session=True,
            ) as process,
        ):
            try:
                captured = self._capture(process, code, timeout, stop)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return captured, process.returncode, process.returncode < 0


@cache
def _warn() -> None:
    _log.warning(
        "unsafe_no_sandbox: programs of the model run as this user, with its files and its network. "
        "Only for models and questions that you trust; the run's records say that it was used"
    )
