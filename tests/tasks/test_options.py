"""Options arrive as the type that the task's function has for them, whether a command, a file or Python gives them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from aepo import config
from aepo.tasks.options import bound

SEEN: dict[str, Any] = {}


def make(
    text: str = "", number: int = 0, share: float = 0.0, switch: bool = False, either: str | None = "x",
    names: list[str] | None = None, weights: dict[str, float] | None = None, mode: Literal["a", "b"] = "a",
    day: datetime.date | None = None, file: Path | None = None, anything: Any = None,
    bare_text="x", bare_switch=True, bare_number=1, bare=None,
) -> None:  # fmt: skip
    """What options are given to."""


ROWS = [
    ("text", "no", "no"), ("text", "1.10", "1.10"), ("text", "12:30", "12:30"), ("text", "007", "007"),
    ("text", "20", "20"), ("text", "1.5", "1.5"), ("text", "true", "true"), ("text", "0x10", "0x10"),
    ("text", "1e-5", "1e-5"), ("text", "2024-05-01", "2024-05-01"), ("text", "a: b", "a: b"),
    ("text", "*.txt", "*.txt"),
    ("text", "1_000", "1_000"), ("text", "#tag", "#tag"), ("text", "@home", "@home"), ("text", '"quoted"', "quoted"),
    ("text", "", ""), ("either", "", ""),
    ("number", "007", 7), ("number", "20", 20), ("share", "1e-5", 1e-5), ("share", "3", 3.0), ("share", ".5", 0.5),
    ("switch", "no", False), ("switch", "yes", True), ("switch", "true", True), ("switch", "Off", False),
    ("either", "null", None), ("either", "no", "no"), ("either", "5", "5"), ("names", "[no, 007, 1.10, true]",
    ["no", "007", "1.10", "true"]), ("weights", "{a: 1e-3, b: 2}", {"a": 1e-3, "b": 2.0}), ("mode", "b", "b"),
    ("day", "2024-05-01", datetime.date(2024, 5, 1)), ("file", "x/y", Path("x/y")), ("anything", "5", 5),
    ("anything", "no", "no"), ("bare_text", "5", "5"), ("bare_switch", "no", False), ("bare_number", "007", 7),
    ("bare_number", "0.5", 0.5), ("bare", "1.10", "1.10"), ("bare", "20", 20),
]  # fmt: skip


@pytest.mark.parametrize(("option", "written", "value"), ROWS)
def test_an_override_arrives_typed(option: str, written: str, value: Any, tmp_path: Path) -> None:
    settings = config.load(None, [f"task.options.{option}={written}"])
    assert bound("t", make, settings.task.options) == {option: value}
    assert type(bound("t", make, settings.task.options)[option]) is type(value)
    # Also after it went through a run's folder.
    (tmp_path / "config.yaml").write_text(config.dump(settings))
    again = config.load(tmp_path / "config.yaml")
    assert again == settings and yaml.safe_load(config.dump(settings)) == again.model_dump(mode="json")
    assert bound("t", make, again.task.options) == {option: value}


@pytest.mark.parametrize(
    ("option", "written", "value"), [row for row in ROWS if row[1] not in ("", "a: b", "*.txt", "#tag", "@home")]
)
def test_so_does_what_a_file_says(option: str, written: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"task:\n  options:\n    {option}: {written}\n")
    assert bound("t", make, config.load(tmp_path / "run.yaml").task.options) == {option: value}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"number": "many"}, "task 't': option 'number': input should be a valid integer, unable to parse string as"),
        ({"switch": "maybe"}, "option 'switch': input should be a valid boolean"),
        ({"names": "python"}, "option 'names': input should be a valid list, got 'python'"),
        ({"mode": "c"}, "option 'mode': input should be 'a' or 'b', got 'c'"),
        ({"nubmer": 1}, "task 't' has no option 'nubmer': did you mean 'number'?"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError) as error:
        bound("t", make, options)
    assert line in str(error.value)


def test_a_function_of_any_options_is_given_them_as_they_are() -> None:
    def free(size: int, **others: Any) -> None:
        pass

    assert bound("t", free, {"size": "3", "lang": "no"}) == {"size": 3, "lang": "no"}
