"""Counts events of tools, such as cache hits, waits and retries, for metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_lock = threading.Lock()
_listener: ContextVar[Counter[str] | None] = ContextVar("tool counts", default=None)


def count(name: str, by: float = 1) -> None:
    """Add to a count, e.g. `count("retries")`; outside of `counting` it does nothing.

    Args:
        name: Name of the metric below `tool/`, or one that begins with `environment/`; a name that ends in "seconds"
            is a time.
        by: The amount.
    """
    found = _listener.get()
    if found is not None:
        with _lock:
            found[name] += by  # type: ignore[assignment]


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Collect the counts inside the block, also of tasks and threads that start there."""
    found: Counter[str] = Counter()
    token = _listener.set(found)
    try:
        yield found
    finally:
        _listener.reset(token)


def taken(counts: Counter[str]) -> dict[str, float]:
    """The counts since the last call, as metrics `tool/...` and `environment/...`; afterwards they are zero."""
    with _lock:
        found = {_metric(name): float(value) for name, value in sorted(counts.items())}
        counts.clear()
    return found


def _metric(name: str) -> str:
    return name if name.startswith("environment/") else f"tool/{name}"
