"""An index on disk: the same answers, built whole or not at all, never written to, damage found before a search."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from aepo.cli import main
from aepo.tools.search import Document, Index, search
from aepo.tools.search.folder import build

DOCUMENTS = [Document(f"name {i % 7}", "\n".join(f"w{i * j % 31}" for j in range(12))) for i in range(400)]
QUERIES = [f"w{q} w{q + 3} name" for q in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("index") / "index"
    build(DOCUMENTS, out)
    return out


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """To be damaged."""
    made = tmp_path / "copy"
    made.mkdir()
    for path in folder.iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    return made


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_it_gives_the_hits_that_the_same_corpus_gives_in_memory(folder: Path) -> None:
    disk, memory = Index.open(folder), Index(DOCUMENTS)
    assert [disk.hits(query, 5) for query in QUERIES] == [memory.hits(query, 5) for query in QUERIES]
    assert len(disk) == len(memory) and disk.version == memory.version
    assert anyio.run(search(folder).call, {"query": QUERIES[0]}) == anyio.run(
        search(DOCUMENTS).call, {"query": QUERIES[0]}
    )


def test_texts_are_kept_as_they_are_and_found_in_every_script(tmp_path: Path) -> None:
    documents = [Document("Zürich", "Ünïcode, half \ud800 a pair\n and “quotes”"), Document("北京", "北京是首都")]
    build(documents, tmp_path / "index")
    disk, memory = Index.open(tmp_path / "index"), Index(documents)
    for query in ("unicode", "首都"):
        assert [hit.text.replace("\ud800", "?") for hit in memory.hits(query, 1)] == disk.search(query, 1)
        assert disk.search(query, 1) != []


def test_readers_leave_it_as_it_was(folder: Path) -> None:
    before = state(folder)
    for _ in range(2):
        Index.open(folder).search("w1", 3)
    assert state(folder) == before
    assert not any(path.stat().st_mode & 0o222 for path in folder.iterdir())


def test_a_reader_leaves_nothing_behind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    index = Index.open(folder)
    assert len(os.listdir(tmp_path)) == 1
    del index
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_several_processes_read_it_at_once(folder: Path) -> None:
    code = (
        f"from aepo.tools.search import Index\nprint([Index.open({str(folder)!r}).search(q, 3) for q in {QUERIES[:3]}])"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        )
        for _ in range(2)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [process.returncode for process in running] == [0, 0]


def test_the_manifest_says_what_it_holds(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["documents"] == 400 and manifest["schema"][2] == "title shown: bytes, stored"
    assert len(manifest["corpus"]) == 64 and "meta.json" in manifest["files"]
    assert set(manifest["files"]) | {"manifest.json"} == {path.name for path in folder.iterdir()}


def test_what_is_there_is_not_replaced(folder: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already; remove it or give another folder"):
        build(DOCUMENTS, folder)
    assert len(Index.open(folder)) == 400


def test_a_folder_that_appears_while_another_is_built_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "index"

    def slow() -> Iterator[Document]:
        yield DOCUMENTS[0]
        build(DOCUMENTS[:3], out)

    with pytest.raises(FileExistsError, match="exists already"):
        build(slow(), out)
    assert len(Index.open(out)) == 3 and os.listdir(tmp_path) == ["index"]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Document]:
        yield DOCUMENTS[0]
        raise ValueError("line 2")

    with pytest.raises(ValueError, match="line 2"):
        build(broken(), tmp_path / "index")
    with pytest.raises(ValueError, match="no documents"):
        build([], tmp_path / "index")
    assert os.listdir(tmp_path) == []


def test_a_build_that_is_killed_leaves_no_index(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom aepo.tools.search import Document\n"
        "from aepo.tools.search.folder import build\n"
        "def documents():\n    yield Document('a', 'b')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"build(documents(), Path({str(tmp_path / 'index')!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.endswith(".unfinished")
    with pytest.raises(ValueError, match="not an index, or one that was not finished"):
        Index.open(left)


@pytest.mark.parametrize("where", ["meta.json", "*.store", "*.term", "*.idx", "*.fast", "*.fieldnorm"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_damage_is_found_when_it_is_opened(copy: Path, where: str, damage: str) -> None:
    [path] = copy.glob(where)
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data[:-1] if damage == "cut" else data)
    with pytest.raises(ValueError, match=r"copy: the index is damaged \(") as error:
        search(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("", "manifest.json is damaged"),
        ("[]", "manifest.json is damaged"),
        ('{"version": 2}', "manifest.json is damaged"),
        ('{"version": 2, "schema": [], "documents": 1, "corpus": "", "files": {}}', "manifest.json is damaged"),
        ('{"version": 1, "schema": []}', "version 1, this is version 2: build it again with `aepo tools index`"),
    ],
)
def test_another_manifest_is_refused(copy: Path, manifest: str, message: str) -> None:
    (copy / "manifest.json").write_text(manifest)
    with pytest.raises(ValueError, match=message):
        Index.open(copy)


def test_a_manifest_cannot_name_files_elsewhere(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["../../etc/passwd"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"manifest.json is damaged"):
        Index.open(copy)


def test_an_index_of_another_tantivy_is_one_clear_error(copy: Path) -> None:
    import hashlib

    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "meta.json").write_text("{}")
    manifest["files"]["meta.json"] = hashlib.sha256(b"{}").hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="this version of tantivy cannot read the index"):
        Index.open(copy)


def test_other_folders_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an index, or one that was not finished"):
        search(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        Index.open(tmp_path / "nowhere")


def test_the_command_builds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus, out = tmp_path / "corpus.jsonl", tmp_path / "new" / "index"
    corpus.write_text('{"title": "Zürich", "text": "A city."}\n', encoding="utf-8")
    assert main(["tools", "index", str(corpus), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"1 documents in {out}, corpus ")
    assert anyio.run(search(out).call, {"query": "zurich"}).text == "- A city."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl", "--out", "new"], "nowhere.jsonl"),
        (["corpus.jsonl", "--out", "taken"], "aepo: taken exists already; remove it or give another folder"),
        (
            ["bad.jsonl", "--out", "new"],
            'aepo: bad.jsonl, line 2: expected an object with the text "text" or "contents"',
        ),
        ([], "--out"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.jsonl").write_text('{"text": "a"}\n')
    Path("bad.jsonl").write_text('{"text": "a"}\n[]\n')
    Path("taken").mkdir()
    assert main(["tools", "index", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not Path("new").exists()
