"""What tools did beside answering: cache hits, waits, retries. Whoever runs them listens, and makes metrics of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_lock = threading.Lock()
_listener: ContextVar[Counter[str] | None] = ContextVar("tool counts", default=None)


def count(name: str, by: float = 1) -> None:
    """Add to a count, e.g. `count("retries")`; without a listener nothing happens.

    Args:
        name: A path below `tool/`; one that ends in "/seconds" is a time.
        by: How much.
    """
    found = _listener.get()
    if found is not None:
        with _lock:
            found[name] += by  # type: ignore[assignment]


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Listen to what is counted inside, in tasks and threads that start there too."""
    found: Counter[str] = Counter()
    token = _listener.set(found)
    try:
        yield found
    finally:
        _listener.reset(token)


def taken(counts: Counter[str]) -> dict[str, float]:
    """The counts since the last time, as metrics `tool/...`; afterwards they are zero."""
    with _lock:
        found = {f"tool/{name}": float(value) for name, value in sorted(counts.items())}
        counts.clear()
    return found
