"""Lines of JSON: a half one, which a killed process leaves, is passed over and written over; a broken one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepo.files.lines import append_lines, read_lines


@pytest.mark.parametrize(
    ("there", "read"),
    [
        (b"", []),
        (b'{"a": 1}\n\n{"a": "\xe2\x80\xa8"}\n', [{"a": 1}, {"a": "\u2028"}]),
        (b'{"a": 1}\n{"a": 2', [{"a": 1}]),
        (b'{"a": 1}\n\xff', [{"a": 1}]),
        (b'{"a": 1}\n{"a": 2}', [{"a": 1}, {"a": 2}]),
    ],
)
def test_what_is_whole_is_read_and_stays_when_more_is_written(tmp_path: Path, there: bytes, read: list[object]) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(there)
    assert read_lines(file, json.loads) == read and file.read_bytes() == there
    append_lines(file, ['{"b": 1}', '{"b": 2}'])
    assert read_lines(file, json.loads) == [*read, {"b": 1}, {"b": 2}]


def test_a_broken_line_is_named_and_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('{"a": 1}\nnonsense\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"lines\.jsonl, line 2: "):
        read_lines(tmp_path / "lines.jsonl", json.loads)
    assert read_lines(tmp_path / "other.jsonl", json.loads) == []
