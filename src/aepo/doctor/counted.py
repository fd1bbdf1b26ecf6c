"""The model of a configuration, counted without its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from aepo.config import Config
from aepo.doctor import estimate
from aepo.doctor.training_memory import TrainingMemory, training_memory
from aepo.engines.local.load import device_named, load_config
from aepo.engines.local.shape import Shape, shape_of
from aepo.equipment.models import policy_folder


@dataclass(frozen=True)
class Counted:
    """What is known of a run's model.

    Attributes:
        shape: Its shape.
        training: What its training needs.
        dtype: The type of its weights.
        on_cpu: Whether it is on the CPU.
    """

    shape: Shape
    training: TrainingMemory
    dtype: str
    on_cpu: bool


def counted(config: Config, prompt: int) -> Counted:
    """Count the model of a configuration.

    Args:
        config: The run's.
        prompt: Tokens of the longest prompt.

    Raises:
        ValueError: It has no readable configuration, is no causal LM, or its adapters cannot be made.
    """
    path = policy_folder(config.model.path)
    shape = shape_of(path)
    on_cpu = device_named(config.model.device).type != "cuda"
    dtype = config.model.dtype if config.model.dtype != "auto" else "float32" if on_cpu else "bfloat16"
    tokens, eight_bit = estimate.pass_tokens(config, prompt), config.train.optimizer == "adamw_8bit"
    training = training_memory(load_config(path), config.model, getattr(torch, dtype), tokens, eight_bit)
    return Counted(shape, training, dtype, on_cpu)
