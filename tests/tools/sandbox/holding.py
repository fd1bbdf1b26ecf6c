"""Whether a program can make others wait for a file that it may read; run as root and as somebody else."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from aepo.tools.sandbox.base import Sandbox, SandboxStatus
from tests.tools.sandbox import hostile


def environment(folder: Path) -> Path:
    """A virtual environment with one module, whose file is given."""
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    module = packages / "ours.py"
    module.write_text("answer = 42\n")
    return module


@contextmanager
def opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def use(file: Path) -> None:
    """Write to it, and lock it in each way there is; raises BlockingIOError where one would have to wait."""
    whole = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
    # To open it is what a lease holds up. One at a time: these locks keep each other out, too.
    with opened(file) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for command in (fcntl.F_SETLK, 37):
        with opened(file) as descriptor:
            fcntl.fcntl(descriptor, command, whole)


async def held(sandbox: Sandbox, file: Path) -> list[str]:
    """The programs that held it, or that did not come so far as to try."""
    found = []
    for program in hostile.HOLDING:
        results = []
        async with anyio.create_task_group() as tasks:

            async def run(code: str, timeout: float) -> None:
                results.append(await sandbox.run(code, timeout))  # noqa: B023

            tasks.start_soon(run, program.code.replace("@FILE@", str(file)), program.timeout)
            while not results:
                try:
                    use(file)
                except OSError as error:
                    found.append(f"{program.name}: {error}")
                await anyio.sleep(0.01)
        if results[0].status is not SandboxStatus.TIMEOUT or results[0].stdout != "tried\n":
            found.append(f"{program.name} did not try: {results[0]}")
    return sorted(set(found))
