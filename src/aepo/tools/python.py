"""The `python` tool: a program of the model runs in a sandbox, and its output comes back in few words."""

from __future__ import annotations

import logging
import platform
from dataclasses import replace
from pathlib import Path

from aepo.tools.base import Tool, ToolTimeout, tool
from aepo.tools.counts import count
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.packages import importable
from aepo.types import ToolError

_log = logging.getLogger(__name__)

# Runs inside, around the model's code. It prints the value of a last bare expression, as a notebook does, and says of
# an exception only its name, message and line: the model pays for every token. `ast` and `traceback` load slowly.
_NOTEBOOK = """
def _notebook(source):
    import _ast, sys
    names = globals()
    del names["_notebook"]
    error = None
    try:
        tree = compile(source, "<cell>", "exec", 0x400)
        last = tree.body.pop().value if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), names)
        if last is not None:
            value = eval(compile(_ast.Expression(last), "<cell>", "eval"), names)
            if value is not None:
                print(repr(value))
    except SystemExit:
        raise
    except BaseException as caught:
        error = caught
    if error is not None:
        line, trace = getattr(error, "lineno", None), error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<cell>":
                line = trace.tb_lineno
            trace = trace.tb_next
        try:
            text = getattr(error, "msg", None) if isinstance(error, SyntaxError) else str(error)
        except BaseException:
            text = ""
        text = type(error).__name__ + (": " + str(text)[:300] if text else "")
        text = text.replace("\\n", " ") + (" (line %d)" % line if isinstance(line, int) else "")
        sys.stdout.flush()
        sys.stderr.write("\\n" + text + "\\n")
        raise SystemExit(1)
"""


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
        max_characters=2 * max_characters,
        version=f"{platform.python_version()}/{max_characters}",
        pure=True,
    )
    async def run_python(code: str) -> str:
        """Run a Python program and read what it prints. Only the standard library; no files, no network.

        Args:
            code: The program; print what you want to see.
        """
        program = f"{_NOTEBOOK}\n_notebook({code!a})"
        result = await box.run(program, timeout)
        if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
            _log.warning("%s failed, trying once more: %s", box.name, result.stderr.strip()[-500:])
            count("retries")
            result = await box.run(program, timeout)
        if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
            _log.error("%s failed twice: %s", box.name, result.stderr.strip()[-500:])
            raise ToolError("python is unavailable now; go on without it")
        if result.status is SandboxStatus.TIMEOUT:
            raise ToolTimeout(f"stopped after {timeout:g} s; write a faster program")
        return _text(result, max_characters)

    library = ", ".join(["the standard library", *importable(packages)])
    description = run_python.description.replace("the standard library", library)
    details = {"sandbox": box.name} | ({} if packages is None else {"packages": str(packages)})
    return replace(run_python, description=description, details=details)


def _text(result: SandboxResult, limit: int) -> str:
    output, note = result.stdout.rstrip("\n"), ""
    if result.status is SandboxStatus.ERROR:
        note = (result.stderr.rstrip("\n").splitlines() or [""])[-1]
    elif result.status is SandboxStatus.OUTPUT_LIMIT:
        note = "stopped: printed too much"
    elif result.status is SandboxStatus.MEMORY_LIMIT:
        last = (result.stderr.rstrip("\n").splitlines() or [""])[-1]
        note = f"{last}; used too much memory" if "MemoryError" in last else "stopped: used too much memory"
    elif result.status is SandboxStatus.KILLED:
        note = "crashed, or used too much memory"
    if len(output) > limit:
        output = f"{output[:limit]}\n[cut: {len(output) - limit} more characters]"
    return "\n".join(part for part in (output, note) if part) or "no output; use print()"
