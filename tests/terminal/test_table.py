"""A table reads the same on a terminal and in a file; figures are not broken while there is room for them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from aepo.terminal.table import Best, markdown, show

TABLE = [
    ["data set", "Pass@1", "published, not measured here"],
    ["HotpotQA", Best("50.0 [40.1, 55.0]"), "-"],
    ["Übung [x]", "7.0 [1.0, 9.0]", "47.6"],
]


def shown(width: int) -> list[str]:
    out = io.StringIO()
    show([TABLE], ["Per cent. [dim] is text."], Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_terminal_gets_columns_and_then_the_notes() -> None:
    assert shown(80) == [
        "data set              Pass@1  published, not measured here",
        "HotpotQA   50.0 [40.1, 55.0]                             -",
        "Übung [x]     7.0 [1.0, 9.0]                          47.6",
        "",
        "Per cent. [dim] is text.",
    ]


@pytest.mark.parametrize("width", [41, 50, 57])
def test_where_there_is_little_room_the_head_is_broken_and_no_figure(width: int) -> None:
    lines = shown(width)
    assert any(line.startswith("HotpotQA   50.0 [40.1, 55.0]") and line.endswith("-") for line in lines)
    assert max(map(len, lines)) <= width and "published" in " ".join(lines)


def test_nothing_is_lost_where_there_is_no_room() -> None:
    text = "".join("".join(shown(24)).split())
    assert all(figure in text for figure in ("40.1,", "55.0]", "47.6"))


def test_a_file_gets_the_same_as_markdown() -> None:
    assert markdown("m", [TABLE], ["Per cent."]).splitlines() == [
        "# m",
        "",
        "| data set | Pass@1 | published, not measured here |",
        "| --- | ---: | ---: |",
        "| HotpotQA | **50.0 [40.1, 55.0]** | - |",
        "| Übung [x] | 7.0 [1.0, 9.0] | 47.6 |",
        "",
        "- Per cent.",
    ]
