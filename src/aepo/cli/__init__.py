"""The command line: `aepo train`, `eval`, `compare` and so on. Each command has a file of its own.

Bad input gives an error of one line and exit code 2.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import select
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import version
from inspect import signature
from typing import Any

import tyro

from aepo.cli.bench import bench
from aepo.cli.compare import compare
from aepo.cli.convert import convert
from aepo.cli.doctor import doctor
from aepo.cli.evaluate import evaluate
from aepo.cli.export import export
from aepo.cli.gradient import gradient
from aepo.cli.init import init
from aepo.cli.prompt import prompt
from aepo.cli.settings import settings
from aepo.cli.solve import solve
from aepo.cli.tools import TOOLS, tools
from aepo.cli.train import train
from aepo.cli.view import view
from aepo.cli.warmstart import warmstart
from aepo.cli.words import REGISTRY, annotations, lists, settings_first, switches
from aepo.process.signals import Terminated, ignore_signals, terminable
from aepo.process.user_code import told, with_notes
from aepo.process.windows import UnsupportedSystem, refuse_windows

COMMANDS: dict[str, Callable[..., int | None]] = {
    "init": init,
    "prompt": prompt,
    "settings": settings,
    "train": train,
    "eval": evaluate,
    "compare": compare,
    "gradient": gradient,
    "solve": solve,
    "doctor": doctor,
    "bench": bench,
    "view": view,
    "warmstart": warmstart,
    "convert": convert,
    "export": export,
    "tools": tools,
}
_DESCRIPTIONS = {
    "aepo": "Train LLM agents that use tools by Agentic Entropy-Balanced Policy Optimization.",
    "aepo tools": "Index documents for search, and manage the kept results of tools.",
}
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words of the command line; by default those of the process.

    Returns:
        The exit code. 0: the command is done. 1: a tool, a reward or the training failed, or there is no result. 2: the
        input is bad. 130: Ctrl-C interrupted the command. 143: SIGTERM ended it. With AEPO_TRACEBACK=1 the traceback of
        an error is printed too.
    """
    with terminable():
        code = _run(arguments)
    if arguments is None:
        ignore_signals()  # a signal must not stop the process while it cleans up
    return code


def _run(arguments: Sequence[str] | None) -> int:
    # With threads of its own, the tokenizers library warns at each fork of this process.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # A task may be in a module of the current folder.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        command = _parsed(sys.argv[1:] if arguments is None else list(arguments))
    except ValueError as error:
        return _report(error, BAD_INPUT)
    try:
        refuse_windows()
        return command() or 0
    except Terminated as end:
        return end.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return _report(RuntimeError(f"code that was called wanted to end the program: {told(end)}"), FAILED)
    except (ValueError, OSError, UnsupportedSystem) as error:
        if isinstance(error, BrokenPipeError) and _output_is_closed():
            return 0
        return _report(error, BAD_INPUT)
    except RuntimeError as error:
        return _report(error, FAILED)
    except Exception as error:
        from aepo.rollout.explorer import RolloutError
        from aepo.tools.sandbox.base import SandboxUnavailable
        from aepo.tools.schema import ToolDefinitionError

        if isinstance(error, SandboxUnavailable | ToolDefinitionError):
            return _report(error, BAD_INPUT)
        # A FloatingPointError says that the weights diverged.
        if isinstance(error, RolloutError | FloatingPointError):
            return _report(error, FAILED)
        raise


def _output_is_closed() -> bool:
    """Whether the reader of the output has gone, as `head` does; then nothing more is written to it."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except OSError:  # in a notebook the output is no file
        return False
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _parsed(arguments: list[str]) -> Callable[[], int | None]:
    """Find the command and bind its arguments; it is not run yet.

    Raises:
        ValueError: The words do not fit. The message is one line instead of tyro's box.
        SystemExit: Help or the version was asked for and printed.
    """
    commands, prog = COMMANDS, "aepo"
    if arguments[:1] == ["tools"]:
        commands, prog, arguments = TOOLS, "aepo tools", arguments[1:]
    if arguments[:1] == ["--version"]:
        print(f"aepo {version('aepo-rl')}, torch {version('torch')}, transformers {version('transformers')}")
        raise SystemExit(0)
    if arguments and not arguments[0].startswith("-"):
        if arguments[0] not in commands:
            near = get_close_matches(arguments[0], commands, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(commands)}"
            raise ValueError(f"unknown command {prog} {arguments[0]}: {meant}")
        command = commands[arguments[0]]
        if "--config" in arguments and command in (train, compare, doctor):
            raise ValueError(f"{prog} {arguments[0]} takes its file without --config: {prog} {arguments[0]} FILE")
        arguments = [arguments[0], *settings_first(arguments[1:], switches(command), lists(command))]
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _bound(command) for name, command in commands.items()},
                prog=prog,
                description=_DESCRIPTIONS[prog],
                args=arguments,
                registry=REGISTRY,
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_sentence(box.getvalue())) from None


def _bound(command: Callable[..., int | None]) -> Callable[..., Callable[[], int | None]]:
    """Make a function with the command's signature and help, which binds the arguments and does not run the command."""

    @functools.wraps(command)
    def bound(*positional: Any, **named: Any) -> Callable[[], int | None]:
        return functools.partial(command, *positional, **named)

    # tyro would break an option's help where the docstring has a line break.
    bound.__doc__ = re.sub(r"\n {12}", " ", command.__doc__ or "")
    # tyro would read the command's own annotations, if it could.
    del bound.__wrapped__  # type: ignore[attr-defined]
    bound.__signature__ = signature(command)  # type: ignore[attr-defined]
    bound.__annotations__ = annotations(command)
    return bound


def _sentence(box: str) -> str:
    """Put the words of tyro's box on one line, without its frame and title."""
    lines = [line.strip("│╭╰╮╯─ ").strip() for line in box.splitlines()]
    words = [line for line, drawn in zip(lines, box.splitlines(), strict=True) if line and "╭" not in drawn]
    # The box breaks a sentence where a line is full; the next sentence begins with a capital letter or a dash.
    joined = "".join(f"; {line}" if line[:1].isupper() or line[:1] == "-" else f" {line}" for line in words)
    return joined.lstrip("; ").replace(":;", ":") or "the arguments do not fit: see aepo --help"


def _report(error: Exception, code: int) -> int:
    if os.environ.get("AEPO_TRACEBACK"):
        traceback.print_exception(error)
    print(f"aepo: {with_notes(error)}", file=sys.stderr)
    return code
