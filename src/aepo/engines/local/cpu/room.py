"""Gives freed memory back to the system before large tensors are made.

A pass frees many tensors of a few MiB between those that it keeps. The C library glibc keeps these gaps for later
tensors. Large ones do not fit into the gaps and come on top: the logits, when a pass holds the most memory, and what
the optimizer needs for the largest parameter. So the gaps are given back just before, and the process holds what
`aepo doctor` says.
"""

from __future__ import annotations

import os

from aepo.process.freed import give_back

MAPPED = 32 << 20
"""Bytes. Larger tensors never lie in freed memory: glibc takes each from the system (DEFAULT_MMAP_THRESHOLD_MAX)."""


def make_room(size: int) -> None:
    """Give freed memory back before tensors of `size` bytes are made, if they are too large to lie in it.

    Nothing happens where the user has set glibc's malloc (MALLOC_... or GLIBC_TUNABLES), nor under another C library.
    """
    if size > MAPPED and not _chosen():
        give_back()


def _chosen() -> bool:
    """Whether the user has chosen what malloc does."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc" in tunables or any(name.startswith("MALLOC_") for name in os.environ)
