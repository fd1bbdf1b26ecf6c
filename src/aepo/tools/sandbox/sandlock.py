"""The sandlock backend. It uses Landlock and seccomp, comes as a wheel, and needs neither root nor user namespaces.

It needs Linux 6.12 or later with Landlock ABI 6. Each call forks this process, and a thread of it supervises the call.

These things are not contained:
- Bugs in the kernel, which the program shares with the host.
- Some facts about the host: the program sees its process numbers, and whether a file exists, its size and its times. It
  can read only /usr and the interpreter. It cannot change modes and times, so `shutil.copy` fails and
  `shutil.copyfile` works.
- The user: the program keeps the caller's user id. If that is root, capabilities are dropped before its first line.
- Processor time: a program may use all cores until its time limit.
- Locks: none is really made, because the files are the host's own. Two processes of a program may write a file at once.
- Detached processes, if this process is killed with SIGKILL: they go on, still confined. `SandlockWorker` ends them.
- Memory, for a tenth of a second: this is how often the memory of a program's processes is measured.
"""

from __future__ import annotations

import os
import platform
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from aepo.tools.sandbox import seccomp
from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command, readable_paths
from aepo.tools.sandbox.capture import Captured, End, StopFlag
from aepo.tools.sandbox.memory import holds_more
from aepo.tools.sandbox.packages import folders, fonts
from aepo.tools.sandbox.supervised import PREFIX, Supervised

_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_REAP_SECONDS = 10.0


class SandlockSandbox(Supervised):
    """Runs each program in its own sandlock sandbox and scratch folder, which is removed at the end."""

    name = "sandlock"

    def __init__(self, limits: SandboxLimits | None = None, packages: str | Path | None = None) -> None:
        """Set the limits and the packages to allow (see `folders`).

        Raises:
            ValueError: There are no such packages.
            ImportError: sandlock is not installed, or its library does not load here.
            OSError: The system calls of this machine are not known here.
        """
        import sandlock  # noqa: F401

        own = seccomp.program(as_host_user=True, shared_files=True)
        if own is None:
            raise OSError(f"no filter of system calls for {platform.machine()}")

        self.limits = limits or SandboxLimits()
        found = folders(packages)
        listed = fonts(found)
        self._readable = [*readable_paths(), *found, *filter(None, [listed])]
        self._command = command(self.limits, drop=os.geteuid() == 0, packages=found, fonts=listed, filter=own)

    def _supervise(self, code: bytes, timeout: float, stop: StopFlag) -> tuple[Captured, int | None, bool]:
        from sandlock import ExitReason, StdioMode

        pipe = StdioMode.PIPED
        with (
            tempfile.TemporaryDirectory(prefix=PREFIX.format(os.getpid()), ignore_cleanup_errors=True) as folder,
            self._policy(Path(folder)).popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe) as process,
        ):
            # sandlock's own limit also counts memory that the kernel refuses, and would kill a program for it.
            large = partial(holds_more, process.pid, self.limits.memory_total)
            captured = self._capture(process, code, timeout, stop, large)
            if captured.end is not End.EXIT:
                process.kill()
            result = process.wait(timeout=_REAP_SECONDS)
        died = result.reason is not ExitReason.EXITED
        return captured, -result.signal if result.signal > 0 else None if died else result.exit_code, died

    def _policy(self, folder: Path) -> Any:
        from sandlock import BranchAction, Sandbox

        work, written = folder / "work", folder / "written"
        work.mkdir()
        written.mkdir()
        return Sandbox(
            fs_readable=[str(p) for p in self._readable] + [d for d in _DEVICES if os.path.exists(d)],
            fs_writable=[str(work), "/dev/null"],
            cwd=str(work),
            # Writes go to a copy with a limit, which is dropped at the end.
            workdir=str(work),
            fs_storage=str(written),
            max_disk=self.limits.disk,
            on_exit=BranchAction.ABORT,
            on_error=BranchAction.ABORT,
            clean_env=True,
            env=ENVIRONMENT,
            max_processes=self.limits.processes,
            max_open_files=self.limits.files,
            no_coredump=True,
        )
