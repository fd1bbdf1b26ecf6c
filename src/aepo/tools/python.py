"""The `python` tool: a program of the model runs in a sandbox, and its output comes back in few words."""

from __future__ import annotations

import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

from aepo.tools.base import Tool, ToolTimeout, tool
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.outcome import FAULTS
from aepo.tools.sandbox.packages import importable
from aepo.tools.sandbox.retry import run_retried

_NOTES = 1000
"""Characters beside the output, at most."""


def python(
    timeout: float = 5.0,
    sandbox: Sandbox | str | None = None,
    concurrency: int = 16,
    max_characters: int = 4000,
    packages: str | Path | None = None,
) -> Tool:
    """A tool named "python" with one argument, `code`. Each call starts from nothing.

    Args:
        timeout: Seconds for one program.
        sandbox: Where it runs: a sandbox or what `choose` takes, "sandlock", "bubblewrap", the address of a service, or
            "unsafe_no_sandbox"; by default the first of the first two that passes the probe. Its name stands in the
            tool's `details`.
        concurrency: Programs at once.
        max_characters: Longer output is cut.
        packages: What programs may import beside the standard library; see `choose`.

    Raises:
        SandboxUnavailable: No sandbox contains untrusted code on this host.
        ValueError: There is no such sandbox or there are no such packages; or both a sandbox and packages are given.
    """
    if sandbox is not None and not isinstance(sandbox, str):
        if packages is not None:
            raise ValueError("packages belong to a sandbox: give them to the one that you pass, or pass its name")
        box = sandbox
    else:
        box = choose(sandbox, packages)

    # A retry may need a second start and a second program; the sandbox itself keeps each within its time.
    @tool(
        name="python",
        timeout=2 * timeout + 90,
        concurrency=concurrency,
        max_characters=max_characters + _NOTES,
        version=f"{platform.python_version()}/{max_characters}/2",
        pure=True,
    )
    async def run_python(code: str) -> str:
        """Run a Python program and read what it prints. Only the standard library; no files, no network.

        Args:
            code: The program; print what you want to see.
        """
        program = f"exec({_notebook()!r}, {{'code': {code!a}}})"
        result = await run_retried(box, program, timeout, "python is unavailable now; go on without it")
        text = text_of(result, max_characters, timeout)
        if result.status is SandboxStatus.TIMEOUT:
            raise ToolTimeout(text)
        return text

    library = ", ".join(["the standard library", *importable(packages)])
    description = run_python.description.replace("the standard library", library)
    details = {"sandbox": box.name} | ({} if packages is None else {"packages": str(packages)})
    return replace(run_python, description=description, details=details)


@cache
def _notebook() -> str:
    return Path(__file__).with_name("notebook.py").read_text(encoding="utf-8") + "\nrun(code)"


def text_of(result: SandboxResult, limit: int, timeout: float) -> str:
    """What the model reads of a program: at most `limit` characters of its output, then how it ended if not well."""
    output = result.stdout if result.left_out else result.stdout.rstrip("\n")
    # What a terminal would show: a line that is written over, as those of progress are, stays as it was at last.
    output = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in output.split("\n"))
    more = max(0, len(output) - limit) + result.left_out
    if more:
        output = f"{output[:limit]}\n[cut: {more} more characters]"
    return "\n".join(part for part in (output, _note(result, timeout)) if part) or "no output; use print()"


def _note(result: SandboxResult, timeout: float) -> str:
    """How the program ended, where it did not end well."""
    last = (result.stderr.rstrip("\n").splitlines() or [""])[-1]
    match result.status:
        case SandboxStatus.ERROR:
            return last
        case SandboxStatus.TIMEOUT:
            return f"stopped after {timeout:g} s; write a faster program"
        case SandboxStatus.OUTPUT_LIMIT:
            return "stopped: printed too much"
        case SandboxStatus.MEMORY_LIMIT:
            return f"{last}; used too much memory" if "MemoryError" in last else "stopped: used too much memory"
        case SandboxStatus.KILLED if result.returncode is None or -result.returncode in FAULTS:
            return "crashed, or used too much memory"
        case SandboxStatus.KILLED:
            return f"ended by signal {-result.returncode}"
    return ""
