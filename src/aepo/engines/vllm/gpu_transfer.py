"""Hands all weights over from GPU to GPU, by vLLM's own ways. Written against vLLM 0.32; no GPU has run it yet."""

from __future__ import annotations

import base64
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.cuda import nccl
from torch.multiprocessing.reductions import reduce_tensor

from aepo.engines.vllm.control import UPDATE_SECONDS, VllmError
from aepo.engines.vllm.transfer import WholeTransfer


class IpcTransfer(WholeTransfer):
    """Lets a server on the trainer's GPU read the trainer's own memory. It copies nothing, if the type is the same."""

    def push(self, version: int) -> None:
        """Hand all weights over."""
        super().push(version)
        # CUDA keeps memory that was lent until it is told that the server has closed it.
        torch.cuda.ipc_collect()

    def send(self, weights: dict[str, Tensor]) -> None:
        """Send a handle of each tensor's memory."""
        gpu = str(torch.cuda.get_device_properties(self.model.device).uuid)
        handles = [{gpu: reduce_tensor(one)[1]} for one in weights.values()]
        pickled = base64.b64encode(pickle.dumps(handles)).decode()
        self.update(described(weights) | {"ipc_handles_pickled": pickled})


class NcclTransfer(WholeTransfer):
    """Broadcasts to a server on other GPUs; this process has rank 0, the server's processes the ranks after it."""

    def connect(self) -> None:
        """Make a communicator with the server's processes."""
        ranks = 1 + int(self.control.get("/get_world_size")["world_size"])
        name = nccl.unique_id()
        told = {"nccl_unique_id_b64": base64.b64encode(name).decode(), "world_size": ranks, "rank_offset": 1}
        call = partial(self.control.post, "/init_weight_transfer_engine", {"init_info": told}, UPDATE_SECONDS)
        self._beside(call, partial(self._join, ranks, name))

    def send(self, weights: dict[str, Tensor]) -> None:
        """Announce the tensors, and broadcast them in this order."""
        self._beside(partial(self.update, described(weights)), partial(self._broadcast, list(weights.values())))

    def _join(self, ranks: int, name: bytes) -> None:
        self._communicators = [nccl.init_rank(ranks, name, 0)]
        # vLLM's processes begin with this operation, and would wait for it.
        nccl.all_reduce([torch.zeros(1, device=self.model.device)], comms=self._communicators)

    def _broadcast(self, tensors: list[Tensor]) -> None:
        for one in tensors:
            nccl.broadcast([one], comms=self._communicators)

    def _beside(self, call: Callable[[], Any], work: Callable[[], None]) -> None:
        """Work while the server answers a call, because it answers only when both have done their part.

        NCCL waits for ever for a server that has failed. So the work has a thread that may be left behind.

        Raises:
            VllmError: The call or the work failed.
        """
        failed: list[BaseException] = []

        def worked() -> None:
            try:
                with torch.cuda.device(self.model.device):
                    work()
                    torch.cuda.synchronize()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=worked, name="nccl", daemon=True)
        thread.start()
        call()
        thread.join(UPDATE_SECONDS)
        if failed or thread.is_alive():
            raise VllmError(f"the weights were not sent by NCCL: {failed[0] if failed else 'no end in time'}")


def described(weights: dict[str, Tensor]) -> dict[str, Any]:
    """The tensors' names, types and shapes, as vLLM wants them."""
    return {
        "names": list(weights),
        "dtype_names": [str(one.dtype).removeprefix("torch.") for one in weights.values()],
        "shapes": [list(one.shape) for one in weights.values()],
    }
