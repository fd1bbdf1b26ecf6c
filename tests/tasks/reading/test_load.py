"""Local files become samples; broken ones, double ids and unknown ids are one clear line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aepo.tasks.datasets import find
from aepo.tasks.reading import DataError, load_samples

ROWS = [{"question": f"What is {n} and {n}?", "answer": f"Twice.\n#### {2 * n:,}"} for n in (1, 2, 700)]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(content: bytes | list[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        whole = content if isinstance(content, bytes) else "\n".join(map(json.dumps, content)).encode()
        path.write_bytes(whole)
        return path

    return written


def test_a_jsonl_file_becomes_samples_in_its_order(write: Write) -> None:
    loaded = load_samples(find("gsm8k"), write(ROWS))
    assert [(s.question, s.target) for s in loaded.samples] == [
        ("What is 1 and 1?", "2"),
        ("What is 2 and 2?", "4"),
        ("What is 700 and 700?", "1400"),
    ]
    assert loaded.left_out == {}


def test_blank_lines_a_byte_order_mark_and_rare_line_separators_do_no_harm(write: Write) -> None:
    odd = json.dumps({"question": "one\u2028two", "answer": "#### 3"}, ensure_ascii=False).encode()
    path = write(b"\xef\xbb\xbf" + odd + b"\r\n\n   \n")
    (sample,) = load_samples(find("gsm8k"), path).samples
    assert sample.question == "one\u2028two"


def test_a_file_of_one_array_gives_the_same_samples(write: Write) -> None:
    array = write(json.dumps(ROWS, indent=1).encode(), "rows.json")
    assert load_samples(find("gsm8k"), array) == load_samples(find("gsm8k"), write(ROWS))


def test_a_parquet_file_gives_the_same_samples(write: Write, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    gsm8k = find("gsm8k")
    assert load_samples(gsm8k, tmp_path / "rows.parquet") == load_samples(gsm8k, write(ROWS))


def test_a_parquet_row_is_named_by_its_number(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [ROWS[0], {"question": "?", "answer": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=re.escape("rows.parquet, row 2: no field 'answer' (or 'golden_answers')")):
        load_samples(find("gsm8k"), tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "rows.jsonl holds no rows"),
        (b"\n\n", "rows.jsonl holds no rows"),
        (b'{"question": "?"\n', "rows.jsonl, line 1: expected an object in JSON"),
        (b'{"question": "a", "answer": "#### 1"}\n{"quest', "rows.jsonl, line 2: expected an object in JSON"),
        (b'{"question": "a", "answer": "#### 1"}\n[]', "rows.jsonl, line 2: a list; write one JSON object a line"),
        (b"[1]\n", "rows.jsonl, entry 1: a int; write one JSON object a line"),
        (b'[\n{"question": "a"}\n]', "rows.jsonl, entry 1: no field 'answer'"),
        (b'{"question": "\xff"}', "rows.jsonl, line 1: expected UTF-8, found the byte 0xff"),
        (b'{"question": "a"}', "rows.jsonl, line 1: no field 'answer' (or 'golden_answers'); found: question"),
        (
            b'\n{"q": "a", "answer": "#### 1"}',
            "rows.jsonl, line 2: no field 'question' (or 'problem'); found: q, ",
        ),
    ],
)
def test_a_broken_file_is_one_line_that_says_where(write: Write, content: bytes, line: str) -> None:
    with pytest.raises(DataError, match=re.escape(line)) as error:
        load_samples(find("gsm8k"), write(content))
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_of_another_kind_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl does not exist"):
        load_samples(find("gsm8k"), tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match=r"a data file is \.jsonl"):
        load_samples(find("gsm8k"), write(b"a,b", "rows.csv"))
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"rows\.parquet: not a whole Parquet file"):
        load_samples(find("gsm8k"), write(b"PAR1 and then nothing", "rows.parquet"))


def test_without_pyarrow_the_line_names_the_extra(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=re.escape('pip install "aepo-rl[parquet]"')):
        load_samples(find("gsm8k"), write(b"PAR1", "rows.parquet"))


def test_two_rows_with_one_id_are_refused_with_both_places(write: Write) -> None:
    with pytest.raises(
        DataError, match=r"rows\.jsonl, line 4: id 'gsm8k-\w+' was already that of .*rows\.jsonl, line 1"
    ):
        load_samples(find("gsm8k"), write([*ROWS, ROWS[0]]))


def test_a_subset_is_taken_by_ids_in_the_order_of_the_rows(write: Write, tmp_path: Path) -> None:
    path = write(ROWS)
    everything = load_samples(find("gsm8k"), path).samples
    ids = [everything[2].id, everything[0].id]
    assert load_samples(find("gsm8k"), path, ids).samples == (everything[0], everything[2])
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n\n")
    assert load_samples(find("gsm8k"), path, tmp_path / "ids.txt").samples == (everything[0], everything[2])


def test_an_id_that_is_not_there_is_named(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no question has the id 'x' and 1 more; an id is e\.g\. 'gsm8k-"):
        load_samples(find("gsm8k"), write(ROWS), ["x", "y"])
    (tmp_path / "ids.txt").write_text("\n")
    with pytest.raises(DataError, match="no id in"):
        load_samples(find("gsm8k"), write(ROWS), tmp_path / "ids.txt")
    with pytest.raises(DataError, match="cannot read the ids in"):
        load_samples(find("gsm8k"), write(ROWS), tmp_path / "nowhere.txt")


def test_a_file_has_no_splits(write: Write) -> None:
    with pytest.raises(DataError, match="give data or split"):
        load_samples(find("gsm8k"), write(ROWS), split="train")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b'{"Answer": NaN, "question": "a"}', "the row['Answer'] is nan"),
        (b'{"answer": Infinity, "question": "a"}', "the row['answer'] is inf"),
        (b'{"answer": 1e999, "question": "a"}', "the row['answer'] is inf"),
        (
            b'{"answer": "x", "golden_answers": ["a", -Infinity], "question": "a"}',
            "the row['golden_answers'][1] is -inf",
        ),
        (b'{"answer": "x", "question": "a", "extra": {"deep": [NaN]}}', "the row['extra']['deep'][0] is nan"),
        (rb'{"answer": "x", "question": "half \ud83c"}', "the row['question'] holds half of a surrogate pair"),
        (rb'{"answer": "\udc00", "question": "a"}', "the row['answer'] holds half of a surrogate pair"),
        (rb'{"answer": "x", "question": "a", "id": "\udc00"}', "the row['id'] holds half of a surrogate pair"),
        (rb'{"answer": "x", "question": "a", "\udc00": 1}', "the row has the key"),
        (b'{"answer": ' + b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_json_value_is_named_with_file_and_line(write: Write, line: bytes, wrong: str) -> None:
    good = json.dumps({"question": "b", "answer": "c"}).encode()
    path = write(good + b"\n" + line)
    with pytest.raises(DataError) as error:
        load_samples(find("hotpotqa"), path)
    assert str(error.value).startswith(f"{path}, line 2: ") and wrong in str(error.value)


def test_a_whole_emoji_written_as_a_pair_is_one(write: Write) -> None:
    (sample,) = load_samples(find("hotpotqa"), write(rb'{"answer": "x", "question": "\ud83c\udf0d"}')).samples
    assert sample.question == "🌍"


def test_a_parquet_row_with_nan_or_a_date_in_a_field_that_is_kept_is_named(tmp_path: Path) -> None:
    import datetime

    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for answer, level, wrong in (
        (float("nan"), "easy", "field 'answer' is nan"),
        (1.0, datetime.date(2024, 5, 1), "field 'level' is a date, which JSON cannot hold"),
    ):
        rows = [{"question": "a", "answer": answer, "level": level}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
        with pytest.raises(DataError) as error:
            load_samples(find("hotpotqa"), tmp_path / "rows.parquet")
        assert str(error.value).startswith(f"{tmp_path / 'rows.parquet'}, row 1: {wrong}")
