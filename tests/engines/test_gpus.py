"""A run says which GPUs it leaves idle, and how to use them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aepo import api, config
from aepo.engines.local.gpus import idle
from aepo.training.display import Display
from tests import tiny

FITS = "other runs fit beside this one, e.g. with another seed"
ANOTHER, MORE = "engine: vllm samples on another one", "vllm.tensor_parallel_size gives the server more"


@pytest.mark.parametrize(
    ("count", "device", "server", "line"),
    [
        (0, "cpu", (), None),
        (1, "cuda", (), None),
        (2, "cuda", (1,), None),
        (1, "cpu", (), "1 GPU, none is used: the run is on cpu; set model.device: cuda"),
        (8, "cpu", (), "8 GPUs, none is used: the run is on cpu; set model.device: cuda"),
        (8, "cuda", (), f"8 GPUs, one is used: {FITS} (CUDA_VISIBLE_DEVICES=1 aepo train ... {ANOTHER}; "),
        (8, "cuda:3", (), f"8 GPUs, one is used: {FITS} (CUDA_VISIBLE_DEVICES=0 aepo train ... {ANOTHER}; "),
        (8, "cuda", (1, 2), f"8 GPUs, 3 are used: {FITS} (CUDA_VISIBLE_DEVICES=3 aepo train ... {MORE}; "),
        (2, "cuda", (0,), f"2 GPUs, one is used: {FITS} (CUDA_VISIBLE_DEVICES=1 aepo train ... {MORE}; "),
    ],
)
def test_idle_gpus_are_told(
    count: int, device: str, server: tuple[int, ...], line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    found = idle(torch.device(device), server)
    assert (found is None) is (line is None)
    for part in (line or "").split(" ... "):
        assert found is None or part in found


def test_a_run_begins_with_the_line(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    settings = [*tiny.settings(tmp_path / "run", model_folder), "train.steps=0", "model.device=cpu"]
    api.train_task(config.load(None, settings), tiny.letters(4), display=Display())
    assert capsys.readouterr().out.count("2 GPUs, none is used") == 1
