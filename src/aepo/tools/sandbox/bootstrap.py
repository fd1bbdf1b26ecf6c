"""The first lines that run inside: they take away what the isolating tool leaves, then run the code from stdin.

They are trusted and run before any untrusted line. A hard limit lowered here cannot be raised again, because no
capability is left: neither to the user namespace nor, when the host process is root, to root itself.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from aepo.tools.sandbox.base import SandboxLimits
from aepo.tools.sandbox.packages import THREADS, interpreter

READY = b"\x01"
"""First byte on stdout: the sandbox stands and the code was read. Without it the call failed on our side."""

ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""For the interpreter alone, gone before the code runs: sets must print in the same order in every run."""

_SOURCE = """
def _start():
    import os, resource, sys
    report, uid, limits, processes, drop, packages, fonts, variables, filter = {values}
    for kind, limit in limits:
        resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (limit, limit))
    if report is not None:
        if program := os.fork():
            # No signal ends the first process of a namespace, except one that it handles.
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
        # matplotlib takes its list from a folder only where it may also write.
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
    """The interpreter's command line; the code follows on stdin.

    Args:
        limits: Lowered for good before the code runs.
        report: Run the program in a child and write how that ended to this descriptor, as a line with its wait status.
        uid: Become this user first (the process must be able to).
        processes: Also limit processes by RLIMIT_NPROC, which counts all processes of the user in its namespace.
        drop: Also drop every capability.
        packages: Folders to import from, beside the standard library.
        fonts: Folder with matplotlib's list of fonts, as the program sees it.
        filter: A seccomp filter to install, on top of what the isolating tool installs. The process also becomes the
            parent of all that it starts and that lose their parent.
    """
    allowed = limits.processes if processes else None
    found, variables = [str(p) for p in packages], THREADS if packages else {}
    bounds = {"AS": limits.memory, "FSIZE": limits.file_size, "NOFILE": limits.files, "SIGPENDING": limits.files}
    kinds = (*bounds.items(), ("CORE", 0), ("MEMLOCK", 0))
    values = (report, uid, kinds, allowed, drop, found, fonts and str(fonts), variables, filter)
    source = _SOURCE.format(values=repr(values), ready=READY)
    # Not -I: it implies -E, and PYTHONHASHSEED could not be given. The environment holds nothing else.
    return [str(interpreter()), "-S", "-s", "-P", "-B", "-X", "utf8", "-c", source]


@cache
def readable_paths() -> tuple[Path, ...]:
    """What the interpreter and ordinary programs need to start; nobody's data lives there."""
    system = [Path(p) for p in ("/usr", "/bin", "/lib", "/lib64")]
    own = [Path(sys.base_prefix).resolve() / p for p in ("bin", "lib", "lib64")]
    return tuple(p for p in system + [o for o in own if not o.is_relative_to("/usr")] if os.path.lexists(p))
