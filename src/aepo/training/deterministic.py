"""Asks PyTorch for kernels that give the same bits for the same numbers, where it has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic as memory


@contextmanager
def deterministic_kernels(device: torch.device) -> Iterator[None]:
    """Inside, kernels add up in a fixed order; one that has no such variant gives a warning.

    On a CPU they do so anyway, with a fixed number of threads, and nothing is changed.

    Args:
        device: Of the model.
    """
    if device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = memory.fill_uninitialized_memory
    # Read when cuBLAS is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # What is never read needs no value, and NaN in the unused part of a cache would reach the sums.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
