"""The page of the command line: every command with its arguments, from the functions of `aepo.cli`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aepo.cli import COMMANDS
from aepo.cli.tools import TOOLS
from website.markdown import cell, prose

_INTRODUCTION = """\
`aepo COMMAND --help` prints the same. Bad input gives one line and exit code 2; 1 says that a tool or the training
failed or that what was asked for is not there; 130 that Ctrl-C ended it and 143 that SIGTERM did. `AEPO_TRACEBACK=1`
prints tracebacks too.
"""


def page(package: Any) -> tuple[str, set[str]]:
    """The page, and the files of the repository that it links to: none.

    Args:
        package: `aepo` as griffe knows it.
    """
    commands: Mapping[str, Callable[..., Any]] = {name: made for name, made in COMMANDS.items() if name != "tools"}
    commands = {**commands, **{f"tools {name}": made for name, made in TOOLS.items()}}
    lines = ["# Command line", "", _INTRODUCTION]
    for name, made in commands.items():
        documented = package[f"{made.__module__}.{made.__name__}".removeprefix("aepo.")]
        lines += ["", f"## `aepo {name}` {{ #{name.replace(' ', '-')} }}", "", *_command(documented)]
    return "\n".join(lines) + "\n", set()


def _command(documented: Any) -> Iterator[str]:
    meaning: dict[str, str] = {}
    for section in documented.docstring.parsed:
        if section.kind.value == "text":
            yield from prose(section.value).splitlines()
        elif section.kind.value == "parameters":
            meaning = {item.name: item.description for item in section.value}
    rows = [one for one in documented.parameters if one.name in meaning]
    if rows:
        yield from ("", "| argument | default | meaning |", "|---|---|---|")
    for one in rows:
        yield f"| {_shown(one)} | {_default(one)} | {cell(meaning[one.name])} |"


def _shown(one: Any) -> str:
    if one.kind.value == "positional-only":
        return f"`{one.name.upper()}`" + (" ..." if "tuple" in str(one.annotation) else "")
    name = one.name.replace("_", "-")
    if str(one.annotation) == "bool":
        return f"`--no-{name}`" if str(one.default) == "True" else f"`--{name}`"
    return f"`--{name}`"


def _default(one: Any) -> str:
    if one.default is None:
        return "required"
    if str(one.default) in ("None", "()", "False", "True", "''"):
        return ""
    return f"`{one.default}`"
