"""Corpora in files."""

from __future__ import annotations

import json
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
    "line", [b"not json", b"[]", b'{"title": "a"}', b'{"text": 3}', b'{"text": "\xff"}', b"[" * 9999]
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + line + b"\n")
    with pytest.raises(ValueError, match=r"corpus.jsonl, line 2: not an object with the texts"):
        search(path)


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
    with pytest.raises(ValueError, match=r'corpus.parquet, row \d: no texts in the columns "title" and "text"'):
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
