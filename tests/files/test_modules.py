"""A module beside the user is found, whatever else has its name; a broken one is told in one line."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from aepo import tasks
from aepo.cli.chosen import load_function
from aepo.files.modules import load_named
from aepo.tools.named import named

TASK = """from __future__ import annotations
import dataclasses
import aepo

@dataclasses.dataclass
class Row:
    text: str = "Who?"

@aepo.tool
def look(query: str) -> str:
    '''Look.

    Args:
        query: What.
    '''
    return query

def make() -> aepo.Task:
    return aepo.Task(__file__, [aepo.Sample(Row().text)])
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


@pytest.mark.parametrize("name", ["test", "datasets", "random", "types", "code", "torch", "json", "my_own", "my-own"])
def test_the_file_beside_the_user_comes_first_and_disturbs_nobody(here: Path, name: str) -> None:
    (here / f"{name}.py").write_text(TASK)
    before = sys.modules.get(name)
    assert tasks.load(f"{name}:make", {}).name == str(here / f"{name}.py")
    assert named(f"{name}:look").name == "look" and load_function("reward", f"{name}:make").__name__ == "make"
    if name not in ("my_own", "my-own"):
        assert sys.modules.get(name) is before
        assert getattr(importlib.import_module(name), "Row", None) is None, "others import what they always did"


@pytest.mark.parametrize("initialised", [True, False])
def test_so_does_a_module_of_a_folder(here: Path, initialised: bool) -> None:
    (here / "test").mkdir()
    (here / "test" / "shop.py").write_text("from .rows import ROWS\n" + TASK.replace("from __future__", "# "))
    (here / "test" / "rows.py").write_text("ROWS = 1\n")
    (here / "test.py").write_text("not python")
    if initialised:
        (here / "test" / "__init__.py").touch()
    assert tasks.load("test.shop:make", {}).name == str(here / "test" / "shop.py")


def test_another_folder_has_another_module(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        (folder / "random.py").write_text(TASK)
        monkeypatch.chdir(folder)
        assert tasks.load("random:make", {}).name == str(folder / "random.py")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def f(:", "cannot be imported: SyntaxError: invalid syntax (broken.py, line 1)"),
        ("import nosuch_package", "cannot be imported: No module named 'nosuch_package' (broken.py, line 1)"),
        ("import aepo\naepo.nosuch", "cannot be imported: module 'aepo' has no attribute 'nosuch' (broken.py, line 2)"),
        ("\nraise SystemExit(3)", "cannot be imported: SystemExit: 3 (broken.py, line 2)"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero (broken.py, line 1)"),
        ("x = 1", "cannot be imported: module 'broken' has no attribute 'make'"),
        ("make = 1", "is a int: name a function that returns an aepo.Task"),
        ("def make():\n    return {}['answer']", "cannot be made: KeyError: 'answer' (broken.py, line 2)"),
        ("def make():\n    return 1", "is a int: the function must return an aepo.Task"),
    ],
)
def test_a_module_that_is_broken_is_one_line(here: Path, text: str, line: str) -> None:
    (here / "broken.py").write_text(text)
    sys.modules.pop("broken", None)
    importlib.invalidate_caches()
    with pytest.raises(ValueError) as error:
        tasks.load("broken:make", {})
    assert str(error.value) == f"task 'broken:make' {line}"


@pytest.mark.parametrize("name", ["nowhere:make", "a.b.c:make", ":make", "..:make", "aepo.nosuch:make"])
def test_what_is_not_there_is_one_line(here: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be imported"):
        load_named("task", name)
