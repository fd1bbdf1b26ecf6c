"""Finds the name under which commands can load a task that was made in Python."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from inspect import Parameter, isfunction, signature
from pathlib import Path
from types import ModuleType
from typing import Any

from aepo.tasks.base import Task

_GUARD = re.compile(r"^if __name__ == ", re.MULTILINE)


def place_of(task: Task) -> str | None:
    """The task's place as "package.module:function", or "package.module:name" of the task itself; None if unknown.

    It is looked for in the modules of the reward, the tools and the environments. A function counts if it needs no
    argument, and its return type is a task or its name is that of the task. It is not called here, so who loads the
    task must compare the two (`aepo.tasks.identity`). A reward that was made inside another function is not found.
    """
    if ":" in task.name:
        return task.name
    # A function made inside another one depends on values that nobody can compare.
    if "<" in getattr(task.reward, "__qualname__", "") and _owner(task.reward) != "aepo":
        return None
    for module, called in _modules(task):
        if name := _within(module, task):
            return f"{called}:{name}"
    return None


def _owner(code: Any) -> str:
    return str(getattr(code, "__module__", "")).partition(".")[0]


def _modules(task: Task) -> Iterator[tuple[ModuleType, str]]:
    """The modules of the task's own code, with the names under which another process imports them."""
    code: list[Any] = [task.reward, *(tool.function for tool in task.tools)]
    code += [environment.factory for environment in task.environments.values()]
    for name in dict.fromkeys(getattr(one, "__module__", None) for one in code):
        module = sys.modules.get(str(name))
        if module is None or str(name).startswith("aepo."):
            continue
        called = str(name).removeprefix("beside_") if name != "__main__" else _script(module)
        if called:
            yield module, called


def _script(module: ModuleType) -> str | None:
    """The name of a script in the current folder; None if its import would run it."""
    file = Path(getattr(module, "__file__", None) or "")
    if file.suffix != ".py" or file.parent.resolve() != Path.cwd() or not file.stem.isidentifier():
        return None
    return file.stem if _GUARD.search(file.read_text(encoding="utf-8")) else None


def _within(module: ModuleType, task: Task) -> str | None:
    """The name of the task in a module, or of the only function that can have made it."""
    inside = vars(module)
    for name, value in inside.items():
        if value is task:
            return name
    makers = [name for name, value in inside.items() if isfunction(value) and _makes(value, module, task.name)]
    named = [name for name in makers if name == task.name]
    return (named or makers)[0] if named or len(makers) == 1 else None


def _makes(function: Any, module: ModuleType, task: str) -> bool:
    if function.__module__ != module.__name__:
        return False
    called = signature(function)
    optional = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    if any(one.default is one.empty and one.kind not in optional for one in called.parameters.values()):
        return False
    returned = called.return_annotation
    written = returned if isinstance(returned, str) else getattr(returned, "__name__", "")
    return function.__name__ == task or written.rpartition(".")[2] == Task.__name__
