"""Folders that outlast a run lie in the user's cache."""

from pathlib import Path

import pytest

from aepo.tools.sandbox.kept import kept


def test_a_kept_folder_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = kept("empty")
    (folder / "a").touch()
    assert kept("empty") == folder == tmp_path / "cache" / "aepo" / "empty" and list(folder.iterdir()) == [folder / "a"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kept("empty") == tmp_path / ".cache" / "aepo" / "empty"


def test_without_a_place_for_it_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match="Not a directory"):
        kept("empty")
