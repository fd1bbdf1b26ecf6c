"""A run says which GPUs it leaves idle, and how to use them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aepo import api, config
from aepo.engines.local.gpus import idle
from aepo.training.display import Display
from tests import tiny


@pytest.mark.parametrize(
    ("count", "device", "line"),
    [
        (0, "cpu", None),
        (1, "cuda", None),
        (1, "cpu", "1 GPU, none is used: the run is on cpu; set model.device: cuda"),
        (8, "cpu", "8 GPUs, none is used: the run is on cpu; set model.device: cuda"),
        (8, "cuda", "8 GPUs, one is used: other runs fit beside this one, e.g. with another seed "),
    ],
)
def test_idle_gpus_are_told(count: int, device: str, line: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    found = idle(torch.device(device))
    assert found is None if line is None else found is not None and found.startswith(line)


def test_a_run_begins_with_the_line(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    settings = [*tiny.settings(tmp_path / "run", model_folder), "train.steps=0", "model.device=cpu"]
    api.train_task(config.load(None, settings), tiny.letters(4), display=Display())
    assert capsys.readouterr().out.count("2 GPUs, none is used") == 1
