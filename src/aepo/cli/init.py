"""Runs `aepo init`."""

from __future__ import annotations

from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from aepo.files.paths import local

STARTERS = Path(__file__).parents[1] / "starters"
PLACEHOLDER = "mytask"
"""The name of the task in the starters, in their texts and in the names of their files."""


def init(
    name: Positional[str] = PLACEHOLDER, /, kind: Literal["tool", "environment", "data"] = "tool", folder: Path = Path()
) -> None:
    """Begin a task of your own: write a task, a configuration and a test of the reward, all of which run as they are.

    Args:
        name: Name of the task, and of its module.
        kind: What it shows. "tool": a function that the model calls. "environment": a world that calls change. "data":
            questions of a file, and documents to search.
        folder: Where the files are written; by default the present folder.
    """
    folder = local(folder)
    files = {folder / file: text for file, text in starter(name, kind).items()}
    if there := [str(file) for file in files if file.exists()]:
        raise ValueError(f"{there[0]} is there already: choose another name, aepo init NAME")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
        print(f"wrote   {file}")
    there = "" if folder == Path() else f"cd {folder} && "
    print(f"prompt  {there}aepo prompt {name}.yaml")
    print(f"test    {there}python -m pytest test_{name}.py")
    print(f"train   {there}aepo train {name}.yaml")


def starter(name: str, kind: str) -> dict[str, str]:
    """The texts of the files of a new task, by file name.

    Raises:
        ValueError: The name cannot be that of a module, or Python has such a module.
    """
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"{name!r} cannot be the name of a module: use letters, digits and _, e.g. my_task")
    found = find_spec(name)
    if found is not None and found.origin != str(Path(f"{name}.py").resolve()):
        raise ValueError(f"Python has a module {name} already: choose another name")
    return {
        file.name.removesuffix(".txt").replace(PLACEHOLDER, name): file.read_text(encoding="utf-8").replace(
            PLACEHOLDER, name
        )
        for file in sorted((STARTERS / kind).iterdir())
    }
