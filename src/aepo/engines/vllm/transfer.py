"""Hands a policy's weights over to a vLLM server of the same machine: all weights by a file, or the adapter."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import Tensor

from aepo.engines.vllm.command import NAME
from aepo.engines.vllm.control import UPDATE_SECONDS, Control, VllmError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Transfer(ABC):
    """One way of the weights to a server that has just started.

    Attributes:
        name: The server's name of the model that has the last weights.
        in_place: Whether the served model itself changes. Then a request under way sees two versions, and a server that
            sleeps need not keep its weights.

    Args:
        control: The server.
        model: The trained model.
        folder: A folder that both can read.

    Raises:
        VllmError: The server refuses.
    """

    name = NAME
    in_place = True

    def __init__(self, control: Control, model: PreTrainedModel, folder: Path) -> None:
        self.control, self.model, self.folder = control, model, folder

    @abstractmethod
    def push(self, version: int) -> None:
        """Let the server load the current weights.

        Raises:
            VllmError: They did not arrive.
        """


class WholeTransfer(Transfer):
    """Hands all weights over by vLLM's own interface; a subclass moves the tensors."""

    def __init__(self, control: Control, model: PreTrainedModel, folder: Path) -> None:
        super().__init__(control, model, folder)
        self.connect()

    def connect(self) -> None:
        """Agree on the way."""
        self.control.post("/init_weight_transfer_engine", {"init_info": {}})

    def push(self, version: int) -> None:
        """Let a server that is paused load the current weights, and forget what it computed with the old ones.

        Between the first call and the third the server has no weights.

        Raises:
            VllmError: The weights did not arrive; the server cannot be used any more.
        """
        weights = {name: one.to(self.model.dtype).contiguous() for name, one in distinct(self.model).items()}
        self.control.post("/start_weight_update", seconds=UPDATE_SECONDS)
        self.send(weights)
        self.control.post("/finish_weight_update", {"weight_version": str(version)}, UPDATE_SECONDS)
        for arrived in self.control.workers("aepo_arrived"):
            if arrived["tensors"] != len(weights) or arrived["missing"]:
                raise VllmError(
                    f"{arrived['tensors']} of {len(weights)} tensors reached vLLM; its model still lacks "
                    f"{', '.join(arrived['missing']) or 'nothing'}: this vLLM reads this model's weights in another way"
                )
        # vLLM answers HTTP 200 also if a request still holds keys and values, and then it keeps all.
        if not self.control.post("/reset_prefix_cache?reset_running_requests=true").get("success"):
            raise VllmError("vLLM did not reset its prefix cache, which has keys and values of the old weights")

    @abstractmethod
    def send(self, weights: dict[str, Tensor]) -> None:
        """Let the server load these tensors."""

    def update(self, info: dict[str, Any]) -> None:
        """Tell the server how it gets the tensors, and wait until it has loaded them."""
        self.control.post("/update_weights", {"update_info": info}, UPDATE_SECONDS)


class FileTransfer(WholeTransfer):
    """Hands all weights over by a file in memory that the server reads (`worker.FileEngine`)."""

    def connect(self) -> None:
        """Check that the folder has room for the file, and agree on the way."""
        size = sum(tensor.numel() for tensor in distinct(self.model).values()) * self.model.dtype.itemsize
        if (room := shutil.disk_usage(self.folder).free) < size:
            raise VllmError(
                f"{self.folder} has room for {room / 2**30:.1f} GiB, the weights need {size / 2**30:.1f}: make it "
                "larger (Docker: --shm-size), or train adapters (model.lora)"
            )
        super().connect()

    def send(self, weights: dict[str, Tensor]) -> None:
        """Write the file, let the server read it, and remove it."""
        path = self.folder / "weights.safetensors"
        try:
            save_file(weights, path)
            self.update({"path": str(path)})
        finally:
            path.unlink(missing_ok=True)


class AdapterTransfer(Transfer):
    """Hands the adapter over. Each version has its own name and folder, because vLLM caches an adapter by its name."""

    in_place = False

    def push(self, version: int) -> None:
        """Let the server load this version, then drop the one before; requests under way are still answered by it.

        Raises:
            VllmError: The server refuses.
        """
        before, name = self.name, f"{self.folder.name}-{version}"
        path = self.folder / name
        self.model.save_pretrained(path)
        self.control.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)}, UPDATE_SECONDS)
        self.name = name
        if before != NAME:
            self.control.post("/v1/unload_lora_adapter", {"lora_name": before})
            shutil.rmtree(self.folder / before, ignore_errors=True)


def distinct(model: PreTrainedModel) -> dict[str, Tensor]:
    """The model's weights by the names in its files, each once; a tied layer counts as the layer that it is tied to."""
    from transformers.core_model_loading import revert_weight_conversion

    # A state's tensors that share memory are tied.
    first: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        first.setdefault(tensor.data_ptr(), (name, tensor))
    return dict(revert_weight_conversion(model, dict(first.values())))
