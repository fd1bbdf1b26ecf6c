"""Every command, extra and setting that a message names is there."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aepo.algorithms import AEPO
from aepo.cli import COMMANDS
from aepo.cli.tools import TOOLS
from aepo.config import Config

ROOT = Path(__file__).parents[1]
EXTRA = re.compile(r"aepo-rl\[([a-z,]+)\]")
COMMAND = re.compile(r"(?<![\w.])aepo (tools )?([a-z]+)((?:[^`;\n]*?--[a-z-]+)*)")
SETTING = re.compile(
    r"(?<![\w./-])((?:model|algorithm|rollout|tools|train|evaluation)\.[a-z_]+(?:\.[a-z_]+)*)(?![\w./(-])"
)
KNOWN = {**COMMANDS, **{f"tools {name}": command for name, command in TOOLS.items()}}


def messages() -> Iterator[tuple[str, str]]:
    """Every text of the package that is no docstring, with its place; the holes of an f-string are dots."""
    for file in sorted((ROOT / "src" / "aepo").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        bodies = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
        silent = {id(one.value) for body in bodies for one in body if isinstance(one, ast.Expr)}
        joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        silent |= {id(part) for node in joined for part in node.values}
        for node in [*joined, *ast.walk(tree)]:
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                text = node.value
            else:
                continue
            yield f"{file.relative_to(ROOT)}:{node.lineno}", text


MESSAGES = list(dict.fromkeys(messages()))


def test_extras_that_are_named_can_be_installed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [(place, one) for place, text in MESSAGES for found in EXTRA.findall(text) for one in found.split(",")]
    assert len(named) >= 10
    assert [one for one in named if one[1] not in extras] == []


def test_commands_that_are_named_exist_with_their_flags() -> None:
    named = [(place, *found) for place, text in MESSAGES for found in COMMAND.findall(text)]
    advised = [one for one in named if f"{one[1]}{one[2]}" in KNOWN]
    assert len(advised) >= 10
    for place, group, name, words in advised:
        parameters = inspect.signature(KNOWN[f"{group}{name}"]).parameters
        for flag in re.findall(r"--([a-z-]+)", words):
            assert flag.replace("-", "_") in parameters, f"{place}: aepo {group}{name} has no --{flag}"


def test_settings_that_are_named_exist() -> None:
    algorithms = {name for one in AEPO.__mro__ for name in getattr(one, "model_fields", {})}
    wrong = []
    for place, text in MESSAGES:
        # A key alone may be verl's.
        for key in SETTING.findall(text) if " " in text else ():
            section, name, *_ = key.split(".")
            known = algorithms if section == "algorithm" else Config.model_fields[section].annotation.model_fields
            if name not in known:
                wrong.append((place, key))
    assert wrong == []


@pytest.mark.parametrize("name", KNOWN)
def test_every_command_explains_itself(name: str) -> None:
    assert (KNOWN[name].__doc__ or "").strip()
