"""Folders that outlast a run are this user's, or none."""

import os
import tempfile
from pathlib import Path

import pytest

from aepo.tools.sandbox.kept import kept


def test_a_kept_folder_is_made_once_and_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = kept("empty")
    (folder / "a").touch()
    assert kept("empty") == folder and list(folder.iterdir()) == [folder / "a"]
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_what_somebody_else_put_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / f"aepo-kept-{os.geteuid()}").symlink_to(elsewhere)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        kept("empty")
    assert list(elsewhere.iterdir()) == []
