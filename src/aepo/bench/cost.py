"""Measures seconds and bytes of pieces of work, on a CPU or an accelerator."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from aepo.process.freed import give_back


@dataclass
class Cost:
    """The cost of a piece of work.

    Attributes:
        seconds: The seconds until the device has finished.
        peak: The largest number of bytes held at once; None if the system does not tell.
    """

    seconds: float = 0.0
    peak: int | None = None


class CostMeter:
    """Measures work on one device; make it before the model is loaded.

    On CUDA a peak is that of all tensors. On a CPU it is that of the process's resident memory, without the libraries'
    code and the memory that Python held when the meter was made. Only Linux tells it.

    Args:
        device: The device that does the work.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = _resident()

    @contextmanager
    def cost(self) -> Iterator[Cost]:
        """Measure the block inside the context."""
        found = Cost()
        on_gpu = self.device.type == "cuda"
        gc.collect()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        else:
            _forget_peak()
        began = time.perf_counter()
        yield found
        if on_gpu:
            torch.cuda.synchronize()
        found.seconds = time.perf_counter() - began
        if on_gpu:
            found.peak = torch.cuda.max_memory_allocated()
        elif (now := _resident()) is not None and self._before is not None:
            # Only the code of a library that has run is in memory, and a part's first call adds more of it.
            found.peak = now["VmHWM"] - now["RssFile"] - self._before["RssAnon"]


def _resident() -> dict[str, int] | None:
    """The bytes of this process's resident memory, by the names of Linux; None if the system does not tell."""
    # ru_maxrss does not serve, because a child begins with the memory that its parent held when it forked.
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return None
    return {name: 1024 * int(lines[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}


def _forget_peak() -> None:
    """Set the peak of this process to its present memory, if the system can do that."""
    # Memory that earlier work has freed would count as held.
    give_back()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
