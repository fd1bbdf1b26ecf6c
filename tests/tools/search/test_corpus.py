"""Corpora in files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from aepo.tools.search import Document, read_documents, search
from aepo.tools.search.corpus import Fingerprint

DOCUMENTS = [Document("Zürich", "A city."), Document("", "Untitled.")]


def written(path: Path, columns: dict[str, list[Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    return path


def test_a_corpus_is_read_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"title": "Zürich", "text": "A city."}\n\n{"text": "Untitled."}\n', encoding="utf-8")
    assert list(read_documents(path)) == DOCUMENTS
    assert anyio.run(search(path).call, {"query": "zurich"}).text == "- A city."


def test_a_corpus_of_search_r1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"id": "0", "contents": '"Zürich"\nA city.\nIn Switzerland.'}) + "\n")
    assert list(read_documents(path)) == [Document("Zürich", "A city.\nIn Switzerland.")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"contents": "Paris is the capital."}, Document("", "Paris is the capital.")),
        ({"contents": "One.\nTwo."}, Document("", "One.\nTwo.")),
        ({"contents": '"Quoted" words\nmore'}, Document("", '"Quoted" words\nmore')),
        ({"contents": '"All of it"\n'}, Document("", '"All of it"\n')),
        ({"title": "T", "contents": '"T"\nx'}, Document("T", "x")),
        ({"title": "T", "contents": "x\ny"}, Document("T", "x\ny")),
        ({"id": 7, "title": float("nan"), "text": "x"}, Document("", "x")),
        ({"title": 1984, "text": "x", "contents": "y"}, Document("1984", "x")),
    ],
)
def test_nothing_of_a_row_is_lost(tmp_path: Path, row: dict[str, Any], expected: Document) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps(row))
    assert list(read_documents(path)) == [expected]


LINES = b'\xef\xbb\xbf{"title": "Z\xc3\xbcrich", "text": "A city."}\r\n\r\n{"text": "Untitled."}\r\n'


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", gzip.compress(LINES)),
        ("a.jsonl", gzip.compress(LINES)),
        ("a.jsonl.bz2", bz2.compress(LINES)),
        ("a.jsonl.xz", lzma.compress(LINES)),
        ("a.json", '\n[{"title": "Zürich", "text": "A city."},\n{"text": "Untitled."}]'.encode()),
        ("a.tsv", 'id\ttext\ttitle\n1\t"A city."\tZürich\n\n2\tUntitled.\t\n'.encode()),
        ("a.tsv.gz", gzip.compress("title\ttext\nZürich\tA city.\n\tUntitled.\n".encode())),
    ],
)
def test_a_corpus_is_read_from_the_usual_files(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert list(read_documents(tmp_path / name)) == DOCUMENTS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"not json", "expected an object in JSON, found 'not json'"),
        (b"[]", 'expected an object with the text "text" or "contents", found a list'),
        (b'{"title": "a"}', 'found only "title"'),
        (b'{"text": 3}', 'found a number under "text"'),
        (b'{"contents": null}', 'found null under "contents"'),
        (b'{"title": ["a"], "text": "b"}', 'expected a text under "title", found a list'),
        (b'{"text": "\xff"}', "expected UTF-8, found the byte 0xff"),
        ('{"text": "a"}'.encode("utf-16"), "expected UTF-8, found NUL bytes"),
        (b"[" * 9999, "nested too deep"),
        (b'{"text": ' + b"9" * 9999 + b"}", "Exceeds the limit"),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected_and_found(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=r"corpus.jsonl, line 2: ") as error:
        search(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.json", b'[\n{"text": "a"},\n\n{"text": "b"\n]', "line 5: expected an object in JSON, found ']'"),
        ("a.json", b'[{"text": "a"}, 3]', "entry 2: expected an object"),
        (
            "a.tsv",
            b"1\tsome words\n",
            "line 1: expected names of columns, \"text\" among them, found '1', 'some words'",
        ),
        ("a.tsv", b"id\ttext\n1\n", "line 2: expected 2 columns, found 1"),
        ("a.tsv", b'id\ttext\n1\t"open\n2\tb\n', "quotation marks that do not match"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-9], "the compressed file is damaged"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=name) as error:
        list(read_documents(tmp_path / name))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.jsonl"):
        search(tmp_path / "nowhere.jsonl")


def test_a_corpus_is_read_from_parquet(tmp_path: Path) -> None:
    columns = {"id": [1, 2], "title": ["Zürich", None], "text": ["A city.", "Untitled."]}
    assert list(read_documents(written(tmp_path / "a.parquet", columns))) == DOCUMENTS
    assert list(read_documents(written(tmp_path / "b.parquet", {"text": ["a"]}))) == [Document("", "a")]
    assert list(read_documents(written(tmp_path / "c.parquet", {"contents": ['"T"\nx']}))) == [Document("T", "x")]


@pytest.mark.parametrize("columns", [{"text": ["a", None]}, {"text": [1, 2]}, {"title": ["a", "b"]}])
def test_a_row_without_text_is_named(tmp_path: Path, columns: dict[str, list[Any]]) -> None:
    path = written(tmp_path / "corpus.parquet", columns)
    with pytest.raises(
        ValueError, match=r'corpus.parquet, row \d: expected an object with the text "text" or "contents", found'
    ):
        list(read_documents(path))


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"", lambda data: b"PAR1" + data[8:-30] + b"PAR1"]
)
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damage: Any) -> None:
    path = written(tmp_path / "corpus.parquet", {"text": ["a", "b"]})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"corpus.parquet: not a whole Parquet file") as error:
        list(read_documents(path))
    assert "\n" not in str(error.value)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r'Parquet needs pyarrow; run: pip install "aepo-rl\[parquet\]"'):
        list(read_documents(tmp_path / "corpus.parquet"))


def test_the_fingerprint_knows_where_a_text_ends() -> None:
    def of(*documents: Document) -> str:
        fingerprint = Fingerprint()
        assert list(fingerprint.follow(documents)) == list(documents)
        return fingerprint.digest()

    assert of(Document("a", "b")) == of(Document("a", "b"))
    assert (
        len(
            {of(), of(Document("ab", "")), of(Document("a", "b")), of(Document("", "ab")), of(Document("a", "b")) + "x"}
        )
        == 5
    )
