"""Hands a policy's weights over to a vLLM server of the same machine: all weights, or the adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from safetensors.torch import save_file

from aepo.engines.vllm.command import NAME
from aepo.engines.vllm.control import Control, VllmError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class Transfer(Protocol):
    """A way to hand weights over.

    Attributes:
        name: The server's name of the model that has the last weights.
        in_place: Whether the served model itself changes, so that a request under way sees two versions.
        sleep_level: The deepest sleep of the server: 2 if a hand-over has all weights, 1 if the server must keep the
            base.
    """

    name: str
    in_place: bool
    sleep_level: int

    def push(self, version: int) -> None:
        """Hand the current weights over.

        Raises:
            VllmError: The weights did not arrive; the server cannot be used any more.
        """
        ...

    def forget(self) -> None:
        """Note that the server was started again and has lost all weights that were handed over."""
        ...


class FileTransfer:
    """Hands all weights over, by a file in memory that the server reads (`worker.FileEngine`)."""

    in_place, sleep_level = True, 2

    def __init__(self, control: Control, model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> None:
        """Check the room for the file; the first `push` hands weights over.

        Args:
            control: Controls the server, which is prepared for weights (`Control.begin`).
            model: The trained model.
            folder: The folder for the file; it needs room for all weights.
            dtype: The type of the served weights.

        Raises:
            VllmError: There is no room for the file.
        """
        self.name = NAME
        self._control, self._model, self._folder, self._dtype = control, model, folder, dtype
        size = sum(tensor.numel() for tensor in _distinct(model).values()) * dtype.itemsize
        if (room := shutil.disk_usage(folder).free) < size:
            raise VllmError(
                f"{folder} has room for {room / 2**30:.1f} GiB, the weights need {size / 2**30:.1f}: make it larger "
                "(Docker: --shm-size), or train adapters (model.lora)"
            )

    def push(self, version: int) -> None:
        """Write the file, let the server read it, and remove it.

        Raises:
            VllmError: A call failed, or a tensor did not arrive.
        """
        weights = {name: one.to("cpu", self._dtype).contiguous() for name, one in _distinct(self._model).items()}
        path = self._folder / f"weights-{version}.safetensors"
        try:
            save_file(weights, path)
            workers = self._control.update(path, version)
        finally:
            path.unlink(missing_ok=True)
        for told in workers:
            arrived = json.loads(told)
            if arrived["tensors"] != len(weights) or arrived["missing"]:
                raise VllmError(
                    f"{arrived['tensors']} of {len(weights)} tensors reached vLLM; its model still lacks "
                    f"{', '.join(arrived['missing']) or 'nothing'}: this vLLM reads this model's weights in another way"
                )

    def forget(self) -> None:
        """Do nothing, because each file has all weights."""


class AdapterTransfer:
    """Hands the adapter over. Each version has its own name and folder, because vLLM caches an adapter by its name."""

    in_place, sleep_level = False, 1

    def __init__(self, control: Control, model: PreTrainedModel, folder: Path) -> None:
        """Set the parts; adapters will be written to `folder`."""
        self.name = NAME
        self._control, self._model, self._folder = control, model, folder

    def push(self, version: int) -> None:
        """Let the server load this version, then drop the one before.

        Raises:
            VllmError: The server does not load it.
        """
        before, name = self.name, f"{NAME}-{version}"
        folder = self._folder / name
        self._model.save_pretrained(folder)
        if before == name:
            self._control.unload_adapter(name)
        self._control.load_adapter(name, folder)
        self.name = name
        if before not in (NAME, name):
            self._control.unload_adapter(before)
            shutil.rmtree(self._folder / before, ignore_errors=True)

    def forget(self) -> None:
        """Forget the last version, because the server does not have it any more."""
        self.name = NAME


def _distinct(model: PreTrainedModel) -> dict[str, Tensor]:
    """The model's weights by the names in its files, each once; a tied layer counts as the layer that it is tied to."""
    from transformers.core_model_loading import revert_weight_conversion

    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            found[name] = tensor.detach()
    return dict(revert_weight_conversion(model, found))
