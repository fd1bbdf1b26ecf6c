"""Builds the first lines that run inside a sandbox: they set limits, drop rights, then run the code from stdin.

They are trusted and run before any untrusted line. A hard limit that is lowered here cannot be raised again, because
the program has no capability left: neither in its user namespace nor, if the host process is root, as root.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.packages import THREADS, interpreter

READY = b"\x01"
"""The first byte on stdout. It says that the sandbox works and has read the code; without it the sandbox failed."""

ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""Variables for the interpreter's start, removed before the code runs: sets must print in the same order each time."""

_SOURCE = """
def _start():
    import os, resource, sys
    report, uid, limits, processes, drop, packages, fonts, variables, filter = {values}
    for kind, limit in limits:
        resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (limit, limit))
    if report is not None:
        if program := os.fork():
            # A signal ends the first process of a namespace only if it has a handler. Python has one for SIGINT.
            import _signal
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
            while (ended := os.waitpid(-1, 0))[0] != program:
                pass
            os.write(report, b"%d\\n" % ended[1])
            os._exit(0)
        os.close(report)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    if processes is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    if drop or filter:
        import _ctypes, array
        libc = _ctypes.dlopen(None, 0)
        def call(name, *arguments):
            if _ctypes.call_function(_ctypes.dlsym(libc, name), arguments) != 0:
                os._exit(125)
    if drop:
        call("capset", (0x20080522).to_bytes(4, sys.byteorder) + bytes(4), bytes(24))
    if filter:
        lines = array.array("B", filter)
        address, size = lines.buffer_info()
        call("prctl", 36, 1, 0, 0, 0)
        call("prctl", 38, 1, 0, 0, 0)
        call("prctl", 22, 2, (size // 8).to_bytes(8, sys.byteorder) + address.to_bytes(8, sys.byteorder))
    if drop or filter:
        del sys.modules["_ctypes"], sys.modules["array"]
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(variables)
    sys.path += packages
    if fonts is not None:
        # matplotlib reads its list of fonts only from a folder that it can write to.
        own = os.environ["MPLCONFIGDIR"] = os.path.join(os.getcwd(), ".matplotlib")
        os.mkdir(own)
        for name in os.listdir(fonts):
            with open(os.path.join(fonts, name), "rb") as listed, open(os.path.join(own, name), "wb") as copy:
                copy.write(listed.read())
    code = sys.stdin.buffer.read()
    os.write(1, {ready!r})
    del globals()["_start"]
    return compile(code, "<python>", "exec")
exec(_start())
"""


def command(
    limits: SandboxLimits,
    *,
    report: int | None = None,
    uid: int | None = None,
    processes: bool = False,
    drop: bool = False,
    packages: tuple[Path, ...] = (),
    fonts: Path | None = None,
    filter: bytes | None = None,
) -> list[str]:
    """Build the interpreter's command line; the code follows on stdin.

    Args:
        limits: The limits that are set before the code runs; they cannot be raised again.
        report: Descriptor for the program's end. The program then runs in a child process, and its wait status is
            written there as a line.
        uid: The user to become first; the process must have the right to.
        processes: Also limit processes by RLIMIT_NPROC, which counts all processes of the user in its namespace.
        drop: Also drop every capability.
        packages: Folders to import from, besides the standard library.
        fonts: Folder with matplotlib's list of fonts, by the path that the program sees.
        filter: A seccomp filter to install besides that of the isolating tool. The process also becomes the parent of
            all its descendants that lose their parent.
    """
    allowed = limits.processes if processes else None
    found, variables = [str(p) for p in packages], THREADS if packages else {}
    bounds = {"AS": limits.memory, "FSIZE": limits.file_size, "NOFILE": limits.files, "SIGPENDING": limits.files}
    kinds = (*bounds.items(), ("CORE", 0), ("MEMLOCK", 0))
    values = (report, uid, kinds, allowed, drop, found, fonts and str(fonts), variables, filter)
    source = _SOURCE.format(values=repr(values), ready=READY)
    # -I implies -E, which would hide PYTHONHASHSEED; the environment holds nothing else.
    return [str(interpreter()), "-S", "-s", "-P", "-B", "-X", "utf8", "-c", source]


@cache
def readable_paths() -> tuple[Path, ...]:
    """List the folders that the interpreter and ordinary programs need to start; they hold no user's data."""
    system = [Path(p) for p in ("/usr", "/bin", "/lib", "/lib64")]
    own = [Path(sys.base_prefix).resolve() / p for p in ("bin", "lib", "lib64")]
    return tuple(p for p in system + [o for o in own if not o.is_relative_to("/usr")] if os.path.lexists(p))
