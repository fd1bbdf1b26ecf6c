"""Imports "package.module:function"; a module of the current folder comes first."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_OURS = Path(__file__).parent


def load_named(what: str, name: str) -> Any:
    """The object that "package.module:function" names.

    Args:
        what: Its purpose for the message, e.g. "task".
        name: Its place, in a module of the current folder or of Python's path.

    Raises:
        ValueError: It cannot be imported; the message says why, and the line if the module's own code fails.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(_module(module), function)
    except (Exception, SystemExit) as error:
        own = " ".join(str(error).split()) or "it ended"
        told = own if isinstance(error, ImportError | AttributeError | ValueError) else f"{type(error).__name__}: {own}"
        raise ValueError(f"{what} {name!r} cannot be imported: {told}{place(error)}") from error


def place(error: BaseException) -> str:
    """Where in the current folder an exception was raised, e.g. " (shop.py, line 3)"; "" if it was elsewhere."""
    here = Path.cwd()
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_relative_to(here) and not any(map(file.is_relative_to, (_OURS, sys.prefix))):
            return f" ({file.relative_to(here)}, line {frame.lineno})"
    return ""


def _module(name: str) -> ModuleType:
    top, dot, rest = name.partition(".")
    beside = _beside(top, rest) if name else None
    if beside is None or top == __package__ or beside in _places(top):
        return importlib.import_module(name)
    # Under its own name it would replace the other module for all importers.
    alias = f"beside_{top}"
    if alias not in sys.modules or beside not in _places(alias):
        _load(alias, beside)
    return importlib.import_module(f"{alias}{dot}{rest}")


def _beside(top: str, rest: str) -> Path | None:
    """In the current folder: a module's file, a package's `__init__.py`, or a folder of modules."""
    here = Path.cwd()
    for file in (here / top / "__init__.py", here / f"{top}.py"):
        if file.is_file() and not (rest and file.name != "__init__.py"):
            return file.resolve()
    inner = here.joinpath(top, *rest.split("."))
    there = bool(rest) and (inner.with_name(f"{inner.name}.py").is_file() or (inner / "__init__.py").is_file())
    return (here / top).resolve() if there else None


def _places(top: str) -> list[Path]:
    """The file or the folders that Python would import by this name."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    found = [spec.origin] if spec.has_location and spec.origin else spec.submodule_search_locations or []
    return [Path(one).resolve() for one in found]


def _load(alias: str, beside: Path) -> None:
    """Put the module of a file, or of a folder, into `sys.modules`."""
    for known in [one for one in sys.modules if one == alias or one.startswith(f"{alias}.")]:
        del sys.modules[known]
    if beside.is_dir():
        module = ModuleType(alias)
        module.__spec__ = ModuleSpec(alias, None, is_package=True)
        module.__path__ = module.__spec__.submodule_search_locations = [str(beside)]
        sys.modules[alias] = module
        return
    package = [str(beside.parent)] if beside.name == "__init__.py" else None
    found = importlib.util.spec_from_file_location(alias, beside, submodule_search_locations=package)
    if found is None or found.loader is None:
        raise ImportError(f"{beside} cannot be read as a module")
    module = sys.modules[alias] = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[alias]
        raise
