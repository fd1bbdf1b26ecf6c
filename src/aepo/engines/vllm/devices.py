"""Which GPUs the trainer and the server take."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from aepo.config import Config
from aepo.engines.local.load import device_named


@dataclass(frozen=True)
class Devices:
    """GPUs of a run.

    Attributes:
        trainer: Number of the trainer's GPU; None on a CPU.
        server: Names of the server's GPUs, as CUDA_VISIBLE_DEVICES has them.
        numbers: Numbers of those that this process sees.
        shared: Whether the trainer's is among them.
    """

    trainer: int | None
    server: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    shared: bool = False


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
    numbers = tuple(names.index(name) for name in server if name in names)
    return Devices(trainer, tuple(server), numbers, trainer in numbers)
