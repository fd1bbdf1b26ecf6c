"""Samples of rows: of files, lists and frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aepo

ROWS = [{"q": "6 * 7?", "a": 42, "level": 1}, {"q": "Who?", "a": "Ada", "level": 2}]
MADE = [aepo.Sample("6 * 7?", "42", metadata={"level": 1}), aepo.Sample("Who?", "Ada", metadata={"level": 2})]


def test_all_forms_give_the_same(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    lines, whole, table = (tmp_path / f"rows.{kind}" for kind in ("jsonl", "json", "parquet"))
    rows = [{**row, "a": str(row["a"])} for row in ROWS]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    whole.write_text(json.dumps(ROWS), encoding="utf-8")
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    for given in (ROWS, lines, str(whole), table):
        assert aepo.samples(given, question="q", target="a") == MADE


def test_a_frame_is_read_by_rows() -> None:
    pandas = pytest.importorskip("pandas")
    assert aepo.samples(pandas.DataFrame(ROWS), question="q", target="a") == MADE


def test_a_table_gives_texts_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('question,answer,id\n"What, exactly?",1.10,007\n', encoding="utf-8")
    assert aepo.samples(file, id="id") == [aepo.Sample("What, exactly?", "1.10", "007")]


def test_several_answers_and_none() -> None:
    rows = [{"question": "Who?", "answer": ["Ada", 7]}]
    assert aepo.samples(rows) == [aepo.Sample("Who?", ["Ada", "7"])]
    assert aepo.samples(rows, target=None, metadata=()) == [aepo.Sample("Who?")]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([{"question": "Who?", "reply": "Ada"}], "rows, row 0 has no 'answer', it has 'question', 'reply'"),
        ([{"question": "How much?", "answer": 1.1}], r"rows, row 0: .* its target is 1.1 \(float\)"),
        ([{"question": "Who?", "answer": "Ada", "at": {1, 2}}], "metadata"),
        (["Who?"], "rows, row 0: a str: give objects"),
        ([], "there is no row"),
        ("nothing.csv", "cannot read nothing.csv"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_row(rows: object, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        aepo.samples(rows)
