"""Gives freed memory back to the system, which a C library may keep for itself."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Give the memory that this process has freed back to the system, where the C library is glibc."""
    # Other C libraries have no such function. Another allocator has its own memory, which this does not touch.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
