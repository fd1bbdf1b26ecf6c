"""What the vLLM server of a run has to serve, and on which GPUs."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from aepo.config import Config
from aepo.engines.local.adapters import find_adapter
from aepo.engines.local.load import device_named, dtype_named
from aepo.equipment.models import policy_folder


@dataclass(frozen=True)
class Devices:
    """GPUs of a run.

    Attributes:
        trainer: Number of the trainer's GPU; None on a CPU.
        server: Names of the server's GPUs, as CUDA_VISIBLE_DEVICES has them.
        numbers: Numbers of those that this process sees.
    """

    trainer: int | None
    server: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether the trainer's GPU is among the server's."""
        return self.trainer in self.numbers


@dataclass(frozen=True)
class ServerNeeds:
    """What a server has to serve.

    Attributes:
        model: The folder or hub name of the model; with an adapter, of its base.
        tokenizer: The folder or hub name of the tokenizer.
        dtype: The type of the weights, "float32" or "bfloat16".
        length: The number of tokens that a sequence may hold.
        placed: The GPUs of trainer and server.
    """

    model: str
    tokenizer: str
    dtype: str
    length: int
    placed: Devices


def server_needs(config: Config, prompt: int) -> ServerNeeds:
    """What a run's server has to serve, if its longest prompt has so many tokens."""
    path, placed = policy_folder(config.model.path), devices(config)
    adapter, dtype = find_adapter(path), dtype_named(config.model.dtype, device_named(config.model.device))
    length = prompt + config.rollout.max_tokens
    return ServerNeeds(adapter.base if adapter else path, path, str(dtype).removeprefix("torch."), length, placed)


def devices(config: Config) -> Devices:
    """Place a run: the server takes what `vllm.devices` says, else the GPUs after the trainer's, else the trainer's."""
    device = device_named(config.model.device)
    if device.type != "cuda" or not torch.cuda.is_available():
        return Devices(None)
    trainer, count = device.index or 0, torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",")[:count] if visible else [str(number) for number in range(count)]
    if config.vllm.devices is not None:
        server = [name.strip() for name in config.vllm.devices.split(",")]
    else:
        others = [name for number, name in enumerate(names) if number != trainer]
        server = (others or names)[: config.vllm.tensor_parallel_size]
    return Devices(trainer, tuple(server), tuple(names.index(name) for name in server if name in names))


def share(config: Config, shared: bool) -> float:
    """The share of a GPU's memory that the server takes, on a GPU of its own or on the trainer's."""
    return config.vllm.gpu_memory_utilization or (0.3 if shared else 0.9)


def sleeps(config: Config, shared: bool) -> bool:
    """Whether the server gives its memory back while the trainer works."""
    wanted = config.vllm.enable_sleep_mode
    return shared if wanted is None else wanted
