"""Starts a command under the guard, so that it ends with this process, even if this process is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from aepo.process import guard


class Guarded:
    """A command that runs, with all processes that it starts.

    Args:
        command: The program and its arguments.
        kill: Seconds from SIGTERM to SIGKILL at the end.
        environment: Variables beside those of this process.
        folder: Is removed at the end; None is none.
        stdin: A descriptor for the command's input.
        output: A file for its output and its errors; None drops its output and shares its errors with this process.

    Raises:
        OSError: The guard cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        kill: float,
        environment: Mapping[str, str],
        folder: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        output: IO[bytes] | None = None,
    ) -> None:
        read, lifeline = os.pipe()
        self._lifeline = os.fdopen(lifeline, "wb")
        guarding = [str(read), "0", str(kill), str(folder or "")]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *guarding, *command],
                stdin=stdin,
                stdout=output or subprocess.DEVNULL,
                stderr=output and subprocess.STDOUT,
                env={**os.environ, **environment},
                pass_fds=[read],
                # Ctrl-C is for this process, which then ends the command.
                start_new_session=True,
            )
        except BaseException:
            self._lifeline.close()
            raise
        finally:
            os.close(read)

    @property
    def status(self) -> int | None:
        """The exit status, or 128 plus the signal that killed the command; None while it runs."""
        return self._process.poll()

    @property
    def session(self) -> int:
        """The number of the session in which the command and all that it starts run."""
        return self._process.pid

    def end(self) -> None:
        """Let the command end, and return at once."""
        self._lifeline.close()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the command and all that it started have ended.

        Raises:
            TimeoutExpired: They have not after some seconds.
        """
        self._process.wait(seconds)
