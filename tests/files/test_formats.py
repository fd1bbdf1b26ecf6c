"""A line says its format: what is written reads back equal, and what is of another kind is refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pytest

from aepo.files.formats import from_line, to_line


@dataclass(frozen=True)
class Part:
    name: str
    weight: float | None = None


@dataclass(frozen=True)
class Whole:
    id: str
    parts: tuple[Part, ...]


WHOLE = Whole("ö\u2028", (Part("a\nb", 0.1 + 0.2), Part("c")))


def test_what_is_written_reads_back_equal_whatever_else_stands_beside_it() -> None:
    line = to_line(1, asdict(WHOLE))
    assert "\n" not in line and from_line(line, 1, "whole", Whole) == WHOLE
    assert from_line(to_line(1, {**asdict(WHOLE), "newer": 7}), 1, "whole", Whole) == WHOLE


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "Expecting property name"),
        ("[]", "no whole of format 1"),
        ('{"id": "q"}', "no whole of format 1"),
        (to_line(2, asdict(WHOLE)), "no whole of format 1"),
        (to_line(1, {"id": "q"}), "no whole: parts: Field required"),
        (to_line(1, {"id": "q", "parts": [{"name": 3}]}), r"no whole: parts\.0\.name: "),
    ],
)
def test_a_line_of_another_kind_is_refused(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        from_line(line, 1, "whole", Whole)
