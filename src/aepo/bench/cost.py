"""Seconds and bytes of pieces of work, on a CPU or an accelerator."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Cost:
    """The cost of a piece of work.

    Attributes:
        seconds: Seconds until the device has finished.
        peak: Most bytes held at once; None where it cannot be told.
    """

    seconds: float = 0.0
    peak: int | None = None


class CostMeter:
    """Measures work on one device; made before the model is loaded.

    On CUDA a peak is that of all tensors. On a CPU it is that of the process's resident memory, less the libraries'
    code and what Python held when the meter was made. Only Linux tells it.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before = _resident()

    @contextmanager
    def cost(self) -> Iterator[Cost]:
        """Measure the block."""
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
            # Of a library's code only what was run is there, which a part's first call changes.
            found.peak = now["VmHWM"] - now["RssFile"] - self._before["RssAnon"]


def _resident() -> dict[str, int] | None:
    """Bytes of this process's resident memory, by the names of Linux; None where the system does not tell."""
    # Not ru_maxrss: a child begins with what its parent held when it forked.
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return None
    return {name: 1024 * int(lines[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}


def _forget_peak() -> None:
    """Let the peak of this process be what it holds now, as far as the system can do that."""
    with suppress(OSError, AttributeError):
        # Freed memory of earlier work would count as held.
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
