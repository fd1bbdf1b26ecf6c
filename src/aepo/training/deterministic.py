"""Asks PyTorch for kernels that give the same bits in every run, if it has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic as memory


@contextmanager
def deterministic_kernels(device: torch.device) -> Iterator[None]:
    """Let kernels add up in a fixed order inside the context; a kernel without such a variant gives a warning.

    On a CPU nothing changes, because with a fixed number of threads the order is fixed already.

    Args:
        device: The device of the model.
    """
    if device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = memory.fill_uninitialized_memory
    # cuBLAS reads this at its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # PyTorch would fill new memory with NaN. Memory that is never read needs no value, and NaN in the unused part of a
    # cache would reach the sums.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
