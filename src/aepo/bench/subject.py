"""Loads the model that is measured, from a folder or the hub, or with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from aepo.assembly import policies
from aepo.bench.random_model import config_from, random_policy
from aepo.config import Config
from aepo.doctor import estimate
from aepo.doctor.finding import size
from aepo.engines.local.load import dtype_named
from aepo.engines.local.shape import shape_from, shape_of
from aepo.equipment.models import policy_folder
from aepo.process.host import host_memory

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Attributes:
        name: The name that the user gave.
        config: The configuration; its `model`, `train` and `rollout.temperature` are used.
        dimensions: The fields of a `config.json`, for random weights; None loads `config.model.path`.
    """

    name: str
    config: Config
    dimensions: Mapping[str, Any] | None = None


def load(subject: Subject, device: torch.device) -> LocalPolicy:
    """Load the model for training, and set the number of threads.

    Raises:
        ValueError: The model cannot be loaded, or memory is too small for its weights.
    """
    config, dtype = subject.config, dtype_named(subject.config.model.dtype, device)
    dimensions = subject.dimensions
    shape = shape_of(policy_folder(config.model.path)) if dimensions is None else shape_from(config_from(dimensions))
    weights = estimate.weights_bytes(shape, str(dtype).removeprefix("torch."))
    if weights > (free := free_bytes(device)):
        raise ValueError(f"the weights of {subject.name} need {size(weights)}, and {size(free)} are free")
    if dimensions is None:
        return policies.load_to_train(config)
    adapters = policies.adapters(config.model)
    policy = random_policy(dimensions, device, dtype, adapters, config.model.gradient_checkpointing)
    policies.set_threads(policy, config)
    return policy


def free_bytes(device: torch.device) -> int:
    """The free memory of the device, in bytes."""
    return host_memory()[0] if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
