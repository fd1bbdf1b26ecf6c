"""`aepo convert` refuses what it cannot use with one line and exit code 2."""

from __future__ import annotations

import zipfile

import pytest

from aepo.cli import main


@pytest.mark.parametrize("name", ["nowhere.gguf", "nowhere.whl"])
def test_a_missing_file_is_named(tmp_path, capsys, name):
    assert main(["convert", str(tmp_path / name), str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.err == f"aepo: no such file: {tmp_path / name}\n" and not printed.out
    assert not list(tmp_path.iterdir())


def test_a_wheel_without_a_model_is_refused(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("package/code.py", "")
    assert main(["convert", str(tmp_path / "a.whl"), str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"aepo: {tmp_path / 'a.whl'} holds no GGUF file\n"
