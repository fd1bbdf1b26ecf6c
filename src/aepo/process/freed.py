"""Gives freed memory back to the system before large tensors are made.

A training pass on a CPU frees many tensors of a few MiB between those that it keeps. The C library glibc keeps these
gaps for later tensors. Large ones do not fit into the gaps and come on top: the logits, when a pass holds the most
memory, and what the optimizer needs for the largest parameter. So the gaps are given back just before, and the process
holds what `aepo doctor` says.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

MAPPED = 32 << 20
"""Bytes. Larger tensors never lie in freed memory: glibc takes each from the system (DEFAULT_MMAP_THRESHOLD_MAX)."""


def make_room(device: str, size: int) -> None:
    """Give freed memory back before tensors of `size` bytes are made on a CPU, if they are too large to lie in it.

    Nothing happens on other devices, where the user has set glibc's malloc (MALLOC_... or GLIBC_TUNABLES), nor under
    another C library.
    """
    if device == "cpu" and size > MAPPED and not _chosen():
        give_back()


def give_back() -> None:
    """Give the memory that this process has freed back to the system, where the C library is glibc."""
    # Other C libraries have no such function. Another allocator has its own memory, which this does not touch.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _chosen() -> bool:
    """Whether the user has chosen what malloc does."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc" in tunables or any(name.startswith("MALLOC_") for name in os.environ)
