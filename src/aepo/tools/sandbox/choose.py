"""Chooses the sandbox for untrusted code: the first one whose probe passes, or the one with a given name."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from aepo.tools.sandbox.base import Sandbox, SandboxUnavailable
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.probe import probe, works
from aepo.tools.sandbox.unsafe import UnsafeNoSandbox
from aepo.tools.sandbox.worker import SandlockWorker

# bubblewrap comes first: it hides more of the host, and a call takes less processor time (benchmarks/sandbox.py).
_BACKENDS = {"bubblewrap": BubblewrapSandbox, "sandlock": SandlockWorker}
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_trusted: dict[tuple[str, str | None], Sandbox] = {}
_lock = threading.Lock()


def choose(preferred: str | None = None, packages: str | Path | None = None) -> Sandbox:
    """Choose the sandbox of this process: bubblewrap if its probe passes, else sandlock. Each is probed only once.

    Args:
        preferred: The backend's name. "bubblewrap" or "sandlock" uses only this one. "http://..." or "https://..." is
            a service that speaks SandboxFusion's format; it must answer but is not probed. "unsafe_no_sandbox" has no
            isolation at all.
        packages: The packages that programs may import besides the standard library: "host" for those of this
            interpreter, or the folder of a virtual environment.

    Raises:
        SandboxUnavailable: No backend contains the probe; the message says what failed in each and how to repair it.
        ValueError: There is no backend of that name, or there are no such packages.
    """
    if preferred is not None and preferred.startswith(("http://", "https://")):
        return _remote(preferred, packages)
    if preferred is not None and preferred not in (*_BACKENDS, UnsafeNoSandbox.name):
        known = ", ".join((*_BACKENDS, UnsafeNoSandbox.name, "http://..."))
        raise ValueError(f"sandbox {preferred!r} is unknown; known: {known}")
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(f"programs run on Linux only, this is {sys.platform}; use a container or a VM")
    if preferred == UnsafeNoSandbox.name:
        return UnsafeNoSandbox(packages=packages)
    with _lock:
        return _first([preferred] if preferred else list(_BACKENDS), packages)


@dataclass(frozen=True)
class BackendVerdict:
    """The probe's result for a backend.

    Attributes:
        name: Name of the backend.
        failures: The checks that failed, or the reason why it does not start; empty if the probe passed.
        fix: A way to repair it; "" if nothing is wrong.
        sandbox: The sandbox; None if the probe failed.
    """

    name: str
    failures: tuple[str, ...]
    fix: str
    sandbox: Sandbox | None


def verdicts() -> list[BackendVerdict]:
    """Probe every backend, in the order of choice; this takes some seconds."""
    return [_tried(name, None) for name in _BACKENDS]


def _tried(name: str, packages: str | Path | None) -> BackendVerdict:
    try:
        sandbox: Sandbox = _BACKENDS[name](packages=packages)
    except (ImportError, OSError) as error:
        return BackendVerdict(name, (str(error),), _hint(name), None)
    failed = probe(sandbox)
    return BackendVerdict(name, tuple(failed), _hint(name) if failed else "", None if failed else sandbox)


def _remote(url: str, packages: str | Path | None) -> Sandbox:
    from aepo.tools.sandbox.remote import RemoteSandbox

    if packages is not None:
        raise ValueError(f"sandbox {url}: packages are installed at the service, leave them out here")
    sandbox = RemoteSandbox(url)
    if reason := works(sandbox):
        raise SandboxUnavailable(f"the sandbox at {url} does not work ({reason}); start SandboxFusion there")
    return sandbox


def _first(names: list[str], packages: str | Path | None) -> Sandbox:
    failures: list[str] = []
    for name in names:
        known = (name, None if packages is None else str(packages))
        if known in _trusted:
            return _trusted[known]
        verdict = _tried(name, packages)
        if verdict.sandbox is not None:
            _trusted[known] = verdict.sandbox
            return verdict.sandbox
        failures.append(f"{name}: failed {'; '.join(verdict.failures)}; {verdict.fix}")
    raise SandboxUnavailable(f"no sandbox contains untrusted code here. {' | '.join(failures)}")


def _hint(name: str) -> str:
    """Say how to repair a backend, as far as this host shows it."""
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
