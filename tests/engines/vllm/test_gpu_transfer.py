"""Weights that go from GPU to GPU: what is asked of the server, and in which order; CUDA and NCCL are played.

What vLLM itself makes of these requests is tested where it is installed (AEPO_VLLM_PYTHON).
"""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import queue
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aepo.engines.vllm import gpu_transfer
from aepo.engines.vllm.control import Control, VllmError
from aepo.engines.vllm.gpu_transfer import IpcTransfer, NcclTransfer
from tests.engines.vllm.conftest import Serve
from tests.engines.vllm.fake import FakeVllm

PYTHON = os.environ.get("AEPO_VLLM_PYTHON", "")
GPU = "GPU-1234"


class Played:
    """NCCL with one receiver, whose `get` and the trainer's `broadcast` wait for each other."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.line: queue.Queue[torch.Tensor] = queue.Queue(maxsize=1)

    def unique_id(self) -> bytes:
        return b"u" * 128

    def init_rank(self, ranks: int, name: bytes, rank: int) -> str:
        self.done.append((ranks, name, rank))
        return "communicator"

    def all_reduce(self, tensors: list[torch.Tensor], comms: list[str]) -> None:
        self.done.append(([tuple(one.shape) for one in tensors], comms))

    def broadcast(self, tensors: list[torch.Tensor], comms: list[str]) -> None:
        assert comms == ["communicator"] and all(one.is_contiguous() for one in tensors)
        self.line.put(tensors[0], timeout=20)


@pytest.fixture
def nccl(monkeypatch: pytest.MonkeyPatch) -> Played:
    """NCCL is played, and CUDA's calls around it do nothing."""
    played = Played()
    monkeypatch.setattr(gpu_transfer, "nccl", played)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return played


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, torch.Tensor]:
    """Tensors by the handles that CUDA would have given for their memory."""
    found: dict[bytes, torch.Tensor] = {}

    def reduced(one: torch.Tensor) -> Any:
        handle = str(len(found)).encode()
        found[handle] = one
        kind = (type(one), one.size(), one.stride(), 0, torch.storage.TypedStorage, one.dtype)
        return None, (*kind, 3, handle, one.nbytes, 0, one.requires_grad, b"", 0, b"", True)

    monkeypatch.setattr(gpu_transfer, "reduce_tensor", reduced)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=GPU))
    monkeypatch.setattr(torch.cuda, "ipc_collect", lambda: None)
    return found


def same(server: FakeVllm, model: Any) -> bool:
    """Whether the served model has these weights."""
    return all(torch.equal(weight, server.model.get_parameter(name)) for name, weight in model.named_parameters())


def test_a_server_reads_the_trainers_memory(serve: Serve, loaded: Any, lent: dict[bytes, torch.Tensor], tmp_path: Path):
    def opened(told: Any) -> dict[str, torch.Tensor]:
        handles = pickle.loads(base64.b64decode(told["ipc_handles_pickled"]))
        tensors = {name: lent[one[GPU][7]] for name, one in zip(told["names"], handles, strict=True)}
        assert told["shapes"] == [list(one.shape) for one in tensors.values()]
        assert set(told["dtype_names"]) == {"float32"}
        return tensors

    server = serve(take=opened)
    transfer = IpcTransfer(Control(server.url), loaded.model, tmp_path)
    transfer.push(0)
    assert same(server, loaded.model)
    # Nothing was copied: a server reads the weights where the trainer has them.
    assert {one.data_ptr() for one in lent.values()} <= {one.data_ptr() for one in loaded.model.state_dict().values()}


def test_tensors_are_broadcast_while_the_server_receives_them(serve: Serve, loaded: Any, nccl: Played, tmp_path: Path):
    server = serve(take=lambda told: {name: nccl.line.get(timeout=20) for name in told["names"]})
    transfer = NcclTransfer(Control(server.url), loaded.model, tmp_path)
    # Two processes of the server and the trainer; vLLM begins with one number added up.
    assert nccl.done == [(3, b"u" * 128, 0), ([(1,)], ["communicator"])]
    begun = next(body["init_info"] for path, body, _ in server.asked if path == "/init_weight_transfer_engine")
    assert begun == {
        "nccl_unique_id_b64": base64.b64encode(b"u" * 128).decode(), "world_size": 3, "rank_offset": 1
    }  # fmt: skip
    for version in range(2):
        with torch.no_grad():
            model = copy.deepcopy(loaded.model)
            next(model.parameters()).add_(version)
        transfer.model = model
        transfer.push(version)
        assert same(server, model)


def test_a_server_that_refuses_is_not_waited_for(serve: Serve, loaded: Any, nccl: Played, tmp_path: Path):
    server = serve(refuses="/update_weights")
    transfer = NcclTransfer(Control(server.url), loaded.model, tmp_path)
    with pytest.raises(VllmError, match=r"/update_weights \(HTTP 500\): the worker failed"):
        transfer.push(0)


def test_a_broadcast_that_fails_is_told(
    serve: Serve, loaded: Any, nccl: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def failing(tensors: Any, comms: Any) -> None:
        raise RuntimeError("NCCL Error 2: unhandled system error")

    monkeypatch.setattr(nccl, "broadcast", failing)
    transfer = NcclTransfer(Control(serve(take=lambda told: {}).url), loaded.model, tmp_path)
    with pytest.raises(VllmError, match="not sent by NCCL: NCCL Error 2"):
        transfer.push(0)


@pytest.mark.parametrize("way", [IpcTransfer, NcclTransfer])
def test_a_tensor_that_does_not_arrive_is_noticed(
    serve: Serve, loaded: Any, nccl: Played, lent: dict[bytes, torch.Tensor], tmp_path: Path, way: type
):
    def short(told: Any) -> dict[str, torch.Tensor]:
        if way is NcclTransfer:
            for _ in told["names"]:
                nccl.line.get(timeout=20)
        return dict.fromkeys(told["names"][1:], torch.zeros(1))

    server = serve(take=short, keeps=True)
    transfer = way(Control(server.url), loaded.model, tmp_path)
    with pytest.raises(VllmError, match=r"20 of 21 tensors reached vLLM"):
        transfer.push(0)


# vLLM's own code reads what was sent; only the last step, which needs a GPU, is played.
VLLM = """
import json, sys, torch
from types import SimpleNamespace
from vllm.distributed.weight_transfer import ipc_engine, nccl_common, nccl_engine
ipc, nccl, begin = (json.loads(line) for line in sys.stdin)
torch.cuda.get_device_properties = lambda device: SimpleNamespace(uuid="GPU-1234")
torch.cuda.current_stream = lambda: None
ipc_engine.rebuild_cuda_tensor = lambda *told: torch.zeros(told[1], dtype=told[5]) + told[6]
found = []
model = SimpleNamespace(load_weights=lambda weights: found.extend(weights))
def engine(kind, **more):
    made = kind.__new__(kind)
    made.__dict__.update(model=model, packed=False, device=torch.device("cuda", 5), **more)
    return made
update = ipc_engine.IPCWeightTransferUpdateInfo(**ipc)
engine(ipc_engine.IPCWeightTransferEngine).receive_weights(update)
assert all(bool((one == 5).all()) for _, one in found)  # our device's number was replaced by theirs
group = SimpleNamespace(broadcast=lambda tensor, src, stream: tensor.fill_(7))
receiver = engine(nccl_engine.NCCLWeightTransferEngine, model_update_group=group)
receiver.device = torch.device("cpu")
receiver.receive_weights(nccl_engine.NCCLWeightTransferUpdateInfo(**nccl))
info = nccl_common.NCCLWeightTransferInitInfo(**begin)
assert info.packed is False and len(info.nccl_unique_id_bytes) == 128
print(json.dumps([[name, str(one.dtype), list(one.shape)] for name, one in found]))
"""


@pytest.mark.skipif(not PYTHON, reason="AEPO_VLLM_PYTHON names no Python with vLLM")
def test_vllm_reads_what_is_sent(
    serve: Serve, loaded: Any, nccl: Played, lent: dict[bytes, torch.Tensor], tmp_path: Path
):
    told: list[Any] = []

    def received(info: Any) -> dict[str, torch.Tensor]:
        told.append(info)
        return {name: nccl.line.get(timeout=20) if len(told) == 2 else torch.zeros(1) for name in info["names"]}

    server = serve(take=received, keeps=True)
    for way in (IpcTransfer, NcclTransfer):
        transfer = way(Control(server.url), copy.deepcopy(loaded.model).to(torch.bfloat16), tmp_path)
        transfer.push(0)
    begin = [body["init_info"] for path, body, _ in server.asked if path == "/init_weight_transfer_engine"][-1]
    ran = subprocess.run(
        [PYTHON, "-c", VLLM],
        input="\n".join(json.dumps(one) for one in (*told, begin)),
        env={**os.environ, "PYTHONPATH": "", "VLLM_ALLOW_INSECURE_SERIALIZATION": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    expected = [[name, "torch.bfloat16", list(one.shape)] for name, one in loaded.model.named_parameters()]
    assert sorted(json.loads(ran.stdout.splitlines()[-1])) == sorted(expected + expected)
