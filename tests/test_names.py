"""One word means one thing: no two public classes share a name, and the glossary names what there is."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
ENTRY = re.compile(r"^\| [^|]+ \| `(aepo\.[\w.]+)` \|", re.MULTILINE)


def defined() -> dict[str, list[str]]:
    """Where each public class and each named type is defined at the top of a module."""
    found = defaultdict(list)
    for path in sorted((ROOT / "src" / "aepo").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            name = None
            if isinstance(node, ast.ClassDef):
                name = node.name
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
            # CONSTANTS and functions may be called alike in two modules; a type is met far from its own.
            if name is not None and re.fullmatch(r"[A-Z]+[a-z]\w*", name):
                found[name].append(str(path.relative_to(ROOT)))
    return found


def test_no_two_types_share_a_name() -> None:
    names = defined()
    assert len(names) > 300
    assert {name: where for name, where in names.items() if len(where) > 1} == {}


@pytest.mark.parametrize("name", ENTRY.findall(GLOSSARY.read_text(encoding="utf-8")))
def test_a_word_of_the_glossary_stands_for_something(name: str) -> None:
    parts = name.split(".")
    for at in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:at]))
        except ModuleNotFoundError:
            continue
        for part in parts[at:]:
            thing = getattr(thing, part)
        return
    pytest.fail(f"nothing is called {name}")


def test_the_glossary_explains_each_word_once() -> None:
    words = re.findall(r"^\| ([a-z][^|]*) \| `", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(words) > 40 and len(set(words)) == len(words)
