"""Another process writes the trees of a run: nothing waits for it but checkpoints, and its end is not passed over."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aepo import api, config
from aepo.process.elsewhere import Elsewhere
from aepo.runs import checkpoint
from aepo.runs.folder import RunFolderError
from aepo.runs.metrics import read_metrics
from aepo.training.display import Display
from aepo.viewer import read_trees
from tests import tiny
from tests.kept import comparable, step_of
from tests.training.child import Child

PATIENCE = 60.0
"""Seconds after which what never comes is given up."""

Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """Start or resume a run with trees of every step; returns its folder."""

    def run(*overrides: str, resume: bool = False) -> Path:
        api.train_config(config.load(None, tiny.settings(tmp_path / "run", model_folder, *overrides)), resume)
        return tmp_path / "run"

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    api.train_config(config.load(None, tiny.settings(folder, model_folder)))
    return folder


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that were started to write."""
    started: list[subprocess.Popen[bytes]] = []
    real = Elsewhere._begin

    def begin(self: Elsewhere) -> subprocess.Popen[bytes]:
        started.append(real(self))
        return started[-1]

    monkeypatch.setattr(Elsewhere, "_begin", begin)
    return started


def after_step(monkeypatch: pytest.MonkeyPatch, do: Callable[[int], object]) -> None:
    """Call a function after each training step."""
    real = Display.step

    def step(self: Display, number: int, values: Any) -> None:
        real(self, number, values)
        if "reward/mean" in values:
            do(number)

    monkeypatch.setattr(Display, "step", step)


def trees(run: Path) -> dict[str, Any]:
    """The files of a run; how long tools took is not compared."""
    return {
        path.name: [(r.group, r.texts, r.update) for r in read_trees(path)] for path in (run / "trees").glob("step-*")
    }


def metrics(run: Path) -> list[dict[str, Any]]:
    return [comparable(row) for row in read_metrics(run / "metrics.jsonl")]


def test_steps_do_not_wait_for_a_writer_and_a_checkpoint_does(
    go: Go, tmp_path: Path, writers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, found = Elsewhere._begin, []

    def asleep(self: Elsewhere) -> subprocess.Popen[bytes]:
        process = begin(self)
        process.send_signal(signal.SIGSTOP)
        return process

    def look(step: int) -> None:
        if step == 3:
            found.extend(path.name for part in ("trees", "checkpoints") for path in (tmp_path / "run" / part).iterdir())
            writers[0].send_signal(signal.SIGCONT)

    monkeypatch.setattr(Elsewhere, "_begin", asleep)
    after_step(monkeypatch, look)
    run = go("train.trees_every=10", "train.keep_checkpoints=3")
    assert not found, "the checkpoint after step 2 comes after the trees of step 1"
    assert list(trees(run)) == ["step-000001.jsonl.gz"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {f"step-{step:06d}" for step in (2, 4, 5)}
    assert [process.returncode for process in writers] == [0], "one process a run, which has ended"


def test_a_writer_that_is_killed_ends_the_run_with_a_line_and_a_checkpoint(
    go: Go, whole: Path, tmp_path: Path, writers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        after_step(patch, lambda step: step == 3 and writers[-1].kill())
        with pytest.raises(RuntimeError, match="the process that writes trees was killed by signal 9") as error:
            go("train.checkpoint_every=9")
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None and step_of(newest) >= 4
    assert error.value.__notes__ == [f"stopped after step {step_of(newest)}; go on with: aepo train --resume {run}"]
    lost = set(trees(whole)) - set(trees(go(resume=True)))
    assert metrics(run) == metrics(whole)
    assert lost <= {"step-000003.jsonl.gz", "step-000004.jsonl.gz"}, "those that the process had, and the next"


def test_a_disk_that_refuses_trees_ends_the_run_with_a_line(go: Go, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def in_the_way(step: int) -> None:
        if step == 1:
            (run / "trees" / "step-000002.jsonl.gz").mkdir()

    with pytest.MonkeyPatch.context() as patch:
        after_step(patch, in_the_way)
        with pytest.raises(RunFolderError, match=r"cannot write .*step-000002.*choose a run folder"):
            go()
    assert not list((run / "checkpoints").glob("step-*")), "a checkpoint after step 2 would claim to have them"
    (run / "trees" / "step-000002.jsonl.gz").rmdir()
    assert trees(go(resume=True)) == trees(whole)


def test_a_run_that_is_killed_leaves_no_writer_and_no_half_file(
    go: Go, whole: Path, tmp_path: Path, model_folder: Path
) -> None:
    run = tmp_path / "run"
    child = Child(tmp_path, "update", 3, ["train", *tiny.settings(run, model_folder)])
    tasks = Path(f"/proc/{child.process.pid}/task")
    writers = [pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
    child.kill()
    end = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() for pid in writers):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert writers and all(trees(whole)[name] == kept for name, kept in trees(run).items())
    assert trees(go(resume=True)) == trees(whole)
