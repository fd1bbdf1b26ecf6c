"""Which backend runs untrusted code here: the first whose probe passes. There is no way to run it without one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from aepo.tools.sandbox.base import Sandbox, SandboxUnavailable
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.probe import probe
from aepo.tools.sandbox.worker import SandlockWorker

_BACKENDS = {"sandlock": SandlockWorker, "bubblewrap": BubblewrapSandbox}
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_trusted: dict[tuple[str, tuple[Path, ...]], Sandbox] = {}
_lock = threading.Lock()


def choose(preferred: str | None = None, readable: Sequence[Path] = ()) -> Sandbox:
    """The sandbox of this process: sandlock if its probe passes, else bubblewrap. Probed once, then remembered.

    Args:
        preferred: "sandlock" or "bubblewrap": that one or none.
        readable: Folders that programs may read besides the system's, at the paths that they have here. Every user
            must be able to read them: programs run as another one.

    Raises:
        SandboxUnavailable: No backend contains the probe; says what failed in each and how to mend it.
        ValueError: There is no backend of that name.
    """
    if preferred is not None and preferred not in _BACKENDS:
        raise ValueError(f"sandbox {preferred!r} is unknown; known: {', '.join(_BACKENDS)}")
    with _lock:
        return _first([preferred] if preferred else list(_BACKENDS), tuple(readable))


def _first(names: list[str], readable: tuple[Path, ...]) -> Sandbox:
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(f"untrusted code runs on Linux only, this is {sys.platform}; use a container or a VM")
    failures: list[str] = []
    for name in names:
        if (known := _trusted.get((name, readable))) is not None:
            return known
        try:
            sandbox: Sandbox = _BACKENDS[name](readable=readable)
        except (ImportError, OSError) as error:
            failures.append(f"{name}: {error}; {_hint(name)}")
            continue
        failed = probe(sandbox)
        if not failed:
            _trusted[name, readable] = sandbox
            return sandbox
        failures.append(f"{name}: failed {'; '.join(failed)}; {_hint(name)}")
    raise SandboxUnavailable(f"no sandbox contains untrusted code here. {' | '.join(failures)}")


def _hint(name: str) -> str:
    """How to mend a backend, as far as this host tells."""
    if name == "sandlock":
        try:
            from sandlock import landlock_abi_version, min_landlock_abi

            abi, needed = landlock_abi_version(), min_landlock_abi()
        except (ImportError, OSError):
            return "pip install sandlock (Linux on x86-64 or ARM64)"
        if abi < needed:
            return f"the kernel has Landlock ABI {abi}, sandlock needs {needed}: Linux 6.12 or later, lsm=landlock"
        return "a container may forbid seccomp or Landlock: allow both in its security profile"
    if _APPARMOR.exists() and _APPARMOR.read_text().strip() != "0":
        return "run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return (
        "run: apt-get install bubblewrap; user namespaces must be allowed "
        "(user.max_user_namespaces > 0; in Docker --security-opt seccomp=unconfined --security-opt apparmor=unconfined)"
    )
