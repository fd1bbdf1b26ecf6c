"""The interface of a sandbox. It takes code, and returns the output and the way it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class SandboxStatus(StrEnum):
    """How a program ended."""

    OK = "ok"
    """The program ended with exit status 0."""
    ERROR = "error"
    """The program ended by itself with another exit status."""
    TIMEOUT = "timeout"
    """The program was killed at the time limit."""
    OUTPUT_LIMIT = "output_limit"
    """The program was killed because it printed too much."""
    MEMORY_LIMIT = "memory_limit"
    """The program ended by its own `MemoryError`, or was killed because its processes together held too much."""
    KILLED = "killed"
    """The program was killed by a signal; it is not known whether its memory was the reason."""
    INFRASTRUCTURE_ERROR = "infrastructure_error"
    """The program did not begin, or the sandbox died. The program is not the cause, so another try may succeed."""


@dataclass(frozen=True)
class SandboxResult:
    """The result of a program.

    Attributes:
        status: How it ended.
        stdout: The first 64 KiB, decoded; bytes that are not UTF-8 are replaced.
        stderr: The last 64 KiB, decoded.
        returncode: Exit status, or minus the signal that ended it; None if neither is known.
        seconds: Wall time of the call, including start-up.
        left_out: Number of characters that it printed to stdout beyond those kept, as far as they were read.
    """

    status: SandboxStatus
    stdout: str = ""
    stderr: str = ""
    returncode: int | None = None
    seconds: float = 0.0
    left_out: int = 0


@dataclass(frozen=True)
class SandboxLimits:
    """Limits of a program.

    Attributes:
        memory: Bytes of address space of one process.
        memory_total: Bytes of all its processes and files together, even if each keeps to its own limit.
        processes: Processes (and, under bubblewrap, threads) at once.
        file_size: Bytes of one file.
        disk: Bytes of all files it writes.
        files: Open file descriptors.
        output_kept: Bytes of stdout, and of stderr, that are kept.
        output_killed: Bytes of stdout and stderr together at which it is killed.
    """

    memory: int = 512 << 20
    memory_total: int = 2 << 30
    processes: int = 32
    file_size: int = 16 << 20
    disk: int = 64 << 20
    files: int = 256
    output_kept: int = 64 << 10
    output_killed: int = 1 << 20


class Sandbox(Protocol):
    """Runs Python code apart from the host.

    The code sees no files but the interpreter's, no environment variables and no network, and it has limits.
    """

    name: str
    """Name of the backend, for the records of a run."""

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """Run `code` in a fresh interpreter for at most `timeout` seconds. All that it started ends with the call.

        If the call is cancelled, the program is killed first. Nothing that the program does raises an error here.
        """
        ...


class SandboxUnavailable(RuntimeError):
    """No backend contains untrusted code on this host; the message says what failed and how to repair it."""
