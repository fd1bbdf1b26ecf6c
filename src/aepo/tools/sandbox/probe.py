"""Tests a sandbox before it is trusted: short hostile programs try to reach a real file, port and process of the host.

These targets are called canaries. They exist only during the probe.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from aepo.process import event_loop
from aepo.tools.sandbox.base import Sandbox, SandboxLimits, SandboxResult, SandboxStatus

_SECONDS = 5.0
_AT_ONCE = 4


@dataclass(frozen=True)
class Canaries:
    """The things of the host that no program may touch.

    Attributes:
        folder: A folder of the host with `secret.txt`.
        secret: The content of this file, and the value of an environment variable of the host process.
        port: A TCP port of the host on 127.0.0.1.
        listeners: The socket of this port, and an abstract socket with the marker as its name.
        marker: A word on the command line of every process that tries to survive.
    """

    folder: Path
    secret: str
    port: int
    listeners: tuple[socket.socket, ...]
    marker: str

    def reached(self) -> bool:
        """Tell whether a program has connected since the last call."""
        found = False
        for listener in self.listeners:
            try:
                listener.accept()[0].close()
                found = True
            except BlockingIOError:
                continue
        return found

    def untold(self, result: SandboxResult) -> bool:
        """Tell whether a program's output is free of the secret."""
        return self.secret not in result.stdout + result.stderr


def _not_done(result: SandboxResult) -> bool:
    return "DONE" not in result.stdout


@dataclass(frozen=True)
class Check:
    """One hostile program, and the function that tells from its result that it was contained."""

    name: str
    code: str
    contained: Callable[[SandboxResult], bool] = _not_done
    seconds: float = _SECONDS


def probe(sandbox: Sandbox) -> list[str]:
    """Run the checks and name those that failed; if none failed, the sandbox may be trusted. Takes 1 or 2 seconds."""
    if reason := works(sandbox):
        return [f"print: an ordinary program did not run ({reason})"]
    with canaries() as host:
        failed = event_loop.run(_failed, sandbox, host)
        if host.reached():
            failed.append("network: a socket of the host was reached")
        if survivors := processes_with(host.marker):
            failed.append("daemon: a process outlived the program")
            for survivor in survivors:
                os.kill(survivor, signal.SIGKILL)
    return sorted(failed)


def works(sandbox: Sandbox) -> str | None:
    """Return the reason why an ordinary program does not run in the sandbox; None if it runs."""
    ran = event_loop.run(sandbox.run, "import json, math, subprocess; print(json.dumps(6 * 7))", _SECONDS)
    if ran.status is SandboxStatus.OK and ran.stdout == "42\n":
        return None
    return (ran.stderr.strip().splitlines() or [ran.status.value])[-1][:200]


async def _failed(sandbox: Sandbox, host: Canaries) -> list[str]:
    failed: list[str] = []
    places = anyio.CapacityLimiter(_AT_ONCE)

    async def one(check: Check) -> None:
        async with places:
            result = await sandbox.run(check.code, check.seconds)
        if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
            failed.append(f"{check.name}: the sandbox itself failed ({result.stderr.strip()[-200:]})")
        elif not check.contained(result):
            failed.append(f"{check.name}: not contained")

    async with anyio.create_task_group() as tasks:
        for check in checks(host):
            tasks.start_soon(one, check)
    return failed


@contextmanager
def canaries() -> Iterator[Canaries]:
    """Set up the canaries on the host, and remove them at the end."""
    secret, variable = secrets.token_hex(16), "AEPO_PROBE_SECRET"
    marker = f"aepo-{secrets.token_hex(8)}"
    with (
        tempfile.TemporaryDirectory(prefix="aepo-probe-") as name,
        socket.socket() as listener,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        folder = Path(name)
        (folder / "secret.txt").write_text(secret)
        listener.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{marker}")
        for opened in (listener, abstract):
            opened.listen(64)
            opened.setblocking(False)
        os.environ[variable] = secret
        try:
            yield Canaries(folder, secret, listener.getsockname()[1], (listener, abstract), marker)
        finally:
            del os.environ[variable]


def processes_with(marker: str, seconds: float = 1.0) -> list[int]:
    """List the host's processes with `marker` on their command line that do not end within `seconds`."""
    deadline = time.monotonic() + seconds
    while (found := _scan(marker)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _scan(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def checks(host: Canaries) -> list[Check]:
    """List the hostile programs."""
    secret, owned = host.folder / "secret.txt", host.folder / "owned"
    return [
        Check("file", f"print(open({str(secret)!r}).read())", host.untold),
        Check(
            "environment",
            "import os\nprint(dict(os.environ))\n"
            f"for p in ('self', os.getppid(), 1, {os.getpid()}):\n"
            "    try: print(open(f'/proc/{p}/environ').read())\n"
            "    except OSError: pass",
            host.untold,
        ),
        Check("network", f"import socket\nsocket.create_connection(('127.0.0.1', {host.port}), 2)\nprint('DONE')"),
        Check(
            "fast open",
            f"import socket\nsocket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {host.port}))\nprint('DONE')",
        ),
        Check(
            "abstract socket",
            f"import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{host.marker}')\nprint('DONE')",
        ),
        Check("mode", f"import os\nos.chmod({str(secret)!r}, 0o600)\nprint('DONE')"),
        Check(
            "limits of the host",
            f"import resource\nresource.prlimit({os.getpid()}, resource.RLIMIT_CORE)\nprint('DONE')",
        ),
        Check("signal", f"import os\nos.kill({os.getpid()}, 0)\nprint('DONE')"),
        Check("write", f"open({str(owned)!r}, 'w').write('x')", lambda _: not owned.exists()),
        Check(
            # `probe` looks for the process that this one leaves.
            "daemon",
            "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            "        for f in (0, 1, 2): os.close(f)\n"
            f"        os.execv('/bin/sleep', [{host.marker!r}, '60'])\n    os._exit(0)\nos.wait()",
        ),
        Check(
            "processes",
            "import os, time\nfor i in range(200):\n"
            "    if os.fork() == 0:\n        time.sleep(9)\n        os._exit(0)\nprint('DONE')",
        ),
        Check("memory", "b = bytearray(4 << 30)\nprint('DONE')"),
        Check("disk", "for i in range(256): open(str(i), 'wb').write(bytes(1 << 20))\nprint('DONE')"),
        Check(
            "loop",
            "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
            "    except (OSError, ValueError): pass\n"
            "while True: pass",
            lambda result: result.status is SandboxStatus.TIMEOUT,
            seconds=0.5,
        ),
        Check(
            "flood",
            "while True: print('x' * 65536)",
            lambda result: (
                result.status is SandboxStatus.OUTPUT_LIMIT and len(result.stdout) <= SandboxLimits().output_kept
            ),
        ),
    ]
