"""Says which settings to change when a device's memory is full."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class OutOfMemory(RuntimeError):
    """A device's memory is full; the message names the settings to change."""


@contextmanager
def memory_advice(doing: str, advice: str) -> Iterator[None]:
    """Raise `OutOfMemory` if the block fills the memory; it is also a decorator.

    Args:
        doing: The activity, as in "while sampling".
        advice: The settings to change.

    Raises:
        OutOfMemory: The memory is full; it replaces torch's own error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        wanted = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        more = f" ({wanted[1]} more were wanted)" if wanted else ""
        raise OutOfMemory(f"the device's memory is full while {doing}{more}: {advice}") from error
