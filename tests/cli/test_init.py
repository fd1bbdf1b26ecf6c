"""`aepo init`: what it writes runs as it is, and nothing is written over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aepo.cli import main
from aepo.runs.folder import RunFolder
from aepo.runs.stamped import newest

SMALL = ["train.steps=1", "algorithm.group_size=4", "rollout.questions=2", "evaluation.samples=1", "train.threads=1"]


@pytest.mark.parametrize("kind", ["tool", "environment", "data"])
def test_what_it_writes_is_tested_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"first_{kind}"
    assert main(["init", name, "--kind", kind]) == 0
    assert not [file for file in tmp_path.iterdir() if "mytask" in file.name + file.read_text(encoding="utf-8")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tested = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tested.returncode, " passed" in tested.stdout) == (0, True), tested.stdout
    assert main(["train", f"{name}.yaml", *SMALL]) == 0
    assert len(RunFolder(newest(tmp_path / "runs" / "latest")).steps()) == 1


def test_it_writes_over_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop.yaml").write_text("seed: 7\n", encoding="utf-8")
    assert main(["init", "shop", "--folder", str(tmp_path)]) == 2
    assert "shop.yaml is there already" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["shop.yaml"]


@pytest.mark.parametrize(
    ("name", "line"),
    [("my-task", "cannot be the name of a module"), ("random", "has a module random"), ("class", "cannot be")],
)
def test_a_name_must_be_that_of_a_new_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, line: str
) -> None:
    assert main(["init", name, "--folder", str(tmp_path)]) == 2
    assert line in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
