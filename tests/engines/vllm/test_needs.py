"""Where trainer and server go on a machine with GPUs; torch is told how many there are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aepo.config import load
from aepo.engines.vllm.command import serve_command
from aepo.engines.vllm.needs import Devices, ServerNeeds, devices


@pytest.mark.parametrize(
    ("count", "visible", "overrides", "expected"),
    [
        (0, None, [], Devices(None)),
        (1, None, [], Devices(0, ("0",), (0,))),
        (2, None, [], Devices(0, ("1",), (1,))),
        (2, "2,3", [], Devices(0, ("3",), (1,))),
        (4, None, ["model.device=cuda:1", "vllm.tensor_parallel_size=2"], Devices(1, ("0", "2"), (0, 2))),
        (4, None, ["vllm.devices='2,3'"], Devices(0, ("2", "3"), (2, 3))),
        (2, None, ["vllm.devices='0'"], Devices(0, ("0",), (0,))),
        (1, "0", ["vllm.devices='1'"], Devices(0, ("1",), ())),
        (2, None, ["model.device=cpu"], Devices(None)),
    ],
)
def test_where_trainer_and_server_go(
    count: int, visible: str | None, overrides: list[str], expected: Devices, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices(load(None, ["engine=vllm", *overrides])) == expected


def test_the_server_sees_its_own_gpus_only():
    served = ServerNeeds("model", "model", "bfloat16", 128, Devices(0, ("3",)))
    assert serve_command(load(None, ["engine=vllm"]), served, Path("/f"))[1]["CUDA_VISIBLE_DEVICES"] == "3"
