"""The memory that is told is that of the machine, or of the container that we run in."""

from __future__ import annotations

import resource

from aepo.process.host import host_memory


def test_some_of_the_memory_is_free() -> None:
    free, total = host_memory()
    assert 0 < free <= total
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert total > used
