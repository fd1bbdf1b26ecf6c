"""Two trainings in a row have a folder each; the newest is found under one name, and the earlier one goes on."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aepo
from aepo import config
from aepo.cli import main
from aepo.runs import stamped
from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.stamped import begins, newest, placed
from aepo.viewer.source import runs_in
from tests import tiny


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Clock:
    """A clock that stands still."""

    at: str

    def strftime(self, form: str) -> str:
        return datetime.datetime.fromisoformat(self.at).strftime(form)


def begun(name: str = "runs/a-{time}", resume: bool = False) -> Path:
    """The folder of a run that has written something."""
    with placed(aepo.Config(run=name), resume) as own:
        path = Path(own.run)
        (path / "checkpoints" / "step-000001").mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text("seed: 1\n")
    return path


def test_runs_of_the_same_second_have_a_folder_each_and_latest_is_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamped, "time", Clock("2026-01-02T03:04:05"))
    assert [str(begun()) for _ in range(3)] == [f"runs/a-20260102-030405{more}" for more in ("", "-2", "-3")]
    assert newest(Path("runs/latest")) == newest(Path("runs/b-{time}")) == Path("runs/a-20260102-030405-3")
    assert sorted(path.name for path in runs_in(Path("runs"))) == [
        f"a-20260102-030405{more}" for more in ("", "-2", "-3")
    ]


def test_a_folder_with_a_name_of_its_own_is_taken_as_it_is() -> None:
    assert begun("runs/mine") == Path("runs/mine") and not Path("runs/latest").exists()


def test_a_run_that_writes_nothing_leaves_no_folder_and_latest_as_it_was() -> None:
    first = begun()
    with pytest.raises(ValueError), placed(aepo.Config(run="runs/a-{time}"), False) as own:
        assert newest(Path("runs/latest")) == Path(own.run) != first
        raise ValueError
    assert newest(Path("runs/latest")) == first and not Path(own.run).exists()


def test_a_first_run_that_writes_nothing_leaves_nothing() -> None:
    with pytest.raises(ValueError), placed(aepo.Config(run="runs/of/a-{time}"), False) as own:
        assert Path(own.run).is_dir()
        raise ValueError
    assert not Path("runs").exists()


def test_a_run_that_goes_on_stays_in_its_folder_when_the_link_moves() -> None:
    first = begun()
    with placed(aepo.Config(run="runs/latest"), True) as own:
        second = begun()
        assert (Path(own.run), newest(Path("runs/latest"))) == (first, second)


def test_a_folder_called_latest_is_left_alone() -> None:
    Path("runs/latest").mkdir(parents=True)
    path = begun()
    assert path.is_dir() and not Path("runs/latest").is_symlink()


def test_a_place_that_cannot_be_written_is_named() -> None:
    Path("runs").write_text("precious")
    with pytest.raises(RunFolderError, match="choose a run folder that can be written"):
        begun()


def test_the_first_line_names_the_folder_and_the_run_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for day in ("2026-01-02", "2026-01-03"):
        monkeypatch.setattr(stamped, "time", Clock(f"{day}T03:04:05"))
        begun("runs/b-{time}")
        paths.append(begun())
    assert begins(paths[0]) == f"run folder {paths[0]}"
    assert begins(paths[1]) == f"run folder {paths[1]}; the run before it goes on with: aepo train --resume {paths[0]}"
    assert begins(Path("runs/mine")) is None


def letters() -> aepo.Task:
    return tiny.letters()


def test_two_trainings_in_a_row_and_the_first_goes_on(capsys: pytest.CaptureFixture[Any], tmp_path: Path) -> None:
    words = tiny.settings(
        Path("runs/{time}"), tiny.save_model(tmp_path / "model"), "evaluation.every=0", "train.steps=1"
    )
    words = [f"task.name={__name__}:letters" if word.startswith("task.name=") else word for word in words]
    assert main(["train", *words]) == 0
    first = RunFolder(newest(Path("runs/latest")))
    assert main(["train", *words]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert len(runs_in(Path("runs"))) == 2 and len(first.steps()) == 1
    (command,) = re.findall(r"the run before it goes on with: aepo (\S+ \S+ \S+)", out)
    assert command == f"train --resume {first.path}"
    assert main([*command.split(), "train.steps=2"]) == 0
    assert len(first.steps()) == 2 and config.load(first.config_file).run == str(first.path)
    assert len(RunFolder(newest(Path("runs/latest"))).steps()) == 1
