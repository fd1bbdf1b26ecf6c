"""Measures seconds and bytes of a piece of work, on a CPU or an accelerator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Cost:
    """The cost of a piece of work.

    Attributes:
        seconds: Seconds until the device has finished.
        peak: Largest number of bytes held on the device, by all tensors; None on a CPU.
        reserved: Bytes that the allocator has taken from the device; None on a CPU.
    """

    seconds: float = 0.0
    peak: int | None = None
    reserved: int | None = None


@contextmanager
def cost(device: torch.device) -> Iterator[Cost]:
    """Measure the cost of the block."""
    found = Cost()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    yield found
    if on_gpu:
        torch.cuda.synchronize()
        found.peak, found.reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    found.seconds = time.perf_counter() - began


def best(work: Callable[[], Any], device: torch.device, repetitions: int) -> Cost:
    """Time of the fastest of several repetitions, after one that is not counted, and the highest peak."""
    work()
    costs = []
    for _ in range(repetitions):
        with cost(device) as found:
            work()
        costs.append(found)
    fastest = min(costs, key=lambda c: c.seconds)
    peaks = [(c.peak, c.reserved) for c in costs if c.peak is not None]
    return Cost(fastest.seconds, *max(peaks)) if peaks else fastest
