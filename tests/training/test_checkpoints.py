"""A run goes on while its checkpoints are written, and nothing is lost by it."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aepo import api, config
from aepo.equipment.models import policy_folder
from aepo.process import host
from aepo.rewards.score import RewardScorer
from aepo.runs import checkpoint, manifest
from aepo.runs.checkpoint import CheckpointError, CheckpointWarning
from aepo.runs.metrics import read_metrics
from aepo.training import checkpoints
from aepo.training.checkpoints import on_cpu, tensors
from aepo.training.display import Display
from tests import tiny
from tests.kept import comparable

PATIENCE = 120.0
"""Seconds after which what never comes is given up."""

Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """Start or resume a run with a checkpoint after steps 2, 4 and 5; returns its folder."""

    def run(*overrides: str, resume: bool = False) -> Path:
        settings = tiny.settings(tmp_path / "run", model_folder, "train.keep_checkpoints=5", *overrides)
        api.train_config(config.load(None, settings), resume)
        return tmp_path / "run"

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    api.train_config(config.load(None, tiny.settings(folder, model_folder, "train.keep_checkpoints=5")))
    return folder


def contents(run: Path, step: int) -> dict[str, bytes]:
    """All files of a checkpoint."""
    folder = run / "checkpoints" / f"step-{step:06d}"
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def metrics(run: Path) -> list[dict[str, object]]:
    return [comparable(row) for row in read_metrics(run / "metrics.jsonl")]


def after_step(monkeypatch: pytest.MonkeyPatch, do: Callable[[int], object]) -> None:
    """Call a function after each training step."""
    real = Display.step

    def step(self: Display, number: int, values: Any) -> None:
        real(self, number, values)
        if "reward/mean" in values:
            do(number)

    monkeypatch.setattr(Display, "step", step)


def sealing(monkeypatch: pytest.MonkeyPatch, do: Callable[[int], object]) -> None:
    """Call a function before the manifest of a checkpoint is written."""
    real = manifest.seal

    def seal(folder: Path, step: int, hashes: Any) -> None:
        do(step)
        real(folder, step, hashes)

    monkeypatch.setattr(manifest, "seal", seal)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_training_goes_on_while_a_checkpoint_is_written_and_does_not_change_it(
    go: Go, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, waited = threading.Event(), []
    after_step(monkeypatch, lambda step: step == 4 and trained.set())
    sealing(monkeypatch, lambda step: step == 2 and waited.append(trained.wait(PATIENCE)))
    run = go()
    assert waited == [True], "two steps were taken while the checkpoint was being written"
    assert metrics(run) == metrics(whole)
    for step in (2, 4, 5):
        assert contents(run, step) == contents(whole, step)


def test_one_is_written_at_a_time(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    writing, most = [], []

    def seal(step: int) -> None:
        writing.append(step)
        most.append(len(writing))

    real = checkpoint.put_in_place
    monkeypatch.setattr(checkpoint, "put_in_place", lambda *paths: (real(*paths), writing.pop()))
    sealing(monkeypatch, seal)
    go("train.checkpoint_every=1")
    assert most == [1] * 5


def test_a_full_disk_ends_the_run_at_a_later_step_and_the_last_good_one_is_kept(
    go: Go, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()
    with monkeypatch.context() as patch:
        sealing(patch, lambda step: step == 4 and (failed.set(), full()))
        with pytest.raises(CheckpointError, match=r"step-000004 .*No space left on device.*step-000002, is kept"):
            go("train.steps=9")
    run = tmp_path / "run"
    assert failed.is_set() and [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
    assert 4 <= metrics(run)[-1]["step"] <= 6, "the checkpoint after step 6 would wait for the one that failed"
    assert metrics(go(resume=True)) == metrics(whole)
    assert contents(run, 5) == contents(whole, 5)


def test_an_error_of_a_rollout_says_so_if_a_checkpoint_could_not_be_written(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()
    real = RewardScorer.__call__

    async def failing(self: RewardScorer, *args: Any) -> Any:
        if broken.is_set():
            raise ValueError("reward is broken")
        return await real(self, *args)

    monkeypatch.setattr(RewardScorer, "__call__", failing)
    after_step(monkeypatch, lambda step: step == 2 and broken.set())
    sealing(monkeypatch, full)
    with pytest.raises(ValueError, match="reward is broken") as error:
        go("evaluation.every=0")
    assert any("cannot write checkpoint step-000002" in note for note in error.value.__notes__)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_without_room_for_a_copy_training_waits_and_says_so_once(
    go: Go, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, threads = [], set()
    monkeypatch.setattr(Display, "message", lambda self, text: told.append(text))
    sealing(monkeypatch, lambda step: threads.add(threading.current_thread()))
    monkeypatch.setattr(checkpoints, "host_memory", lambda: (0, host.host_memory()[1]))
    run = go()
    assert [line for line in told if "waits" in line] == [
        "training waits while checkpoints are written: a copy needs 0.0 GiB of memory, and 0.0 are free"
    ]
    assert threads == {threading.main_thread()}
    assert contents(run, 4) == contents(whole, 4)


def test_a_run_goes_on_from_the_newest_that_has_its_optimizer(go: Go, whole: Path) -> None:
    run = go("train.keep_optimizer=2", "train.checkpoint_every=1", "train.steps=4")
    kept = {path.parent.name for path in (run / "checkpoints").glob("*/optimizer.pt")}
    assert kept == {"step-000003", "step-000004"}
    assert len(list((run / "checkpoints").glob("*/policy"))) == 4
    (run / "checkpoints" / "step-000004" / "optimizer.pt").unlink()
    with pytest.warns(CheckpointWarning, match="step-000004 is passed over"):
        go(resume=True)
    assert contents(run, 5) == contents(whole, 5)


def test_an_evaluation_needs_no_optimizer(go: Go) -> None:
    run = go("train.steps=2", "train.keep_optimizer=1", "train.checkpoint_every=1")
    optimizer = run / "checkpoints" / "step-000002" / "optimizer.pt"
    optimizer.write_bytes(b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert policy_folder(str(run)) == str(optimizer.parent / "policy")
    with pytest.warns(CheckpointWarning), pytest.raises(ValueError, match=r"start another run from the policy"):
        go(resume=True)


def test_a_copy_has_the_same_shape_and_numbers_of_its_own() -> None:
    given = {"a": [torch.ones(2), (3, torch.zeros(1))], "b": "text"}
    copied = on_cpu(given)
    given["a"][0].add_(1)
    assert copied["b"] == "text" and copied["a"][1][0] == 3 and isinstance(copied["a"][1], tuple)
    assert [tensor.tolist() for tensor in tensors(copied)] == [[1.0, 1.0], [0.0]]
