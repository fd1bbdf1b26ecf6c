"""Puts numbered results into a cache and says so on its output, until it is killed.

python writer.py FILE NAME
"""

from __future__ import annotations

import sys
import time
from itertools import count
from pathlib import Path

from aepo.tools.cache.database import KeptResult
from aepo.tools.cache.store import Store


def text_of(key: str) -> str:
    """Some 4 KiB that only this key has."""
    return f"{key}\n" * (4096 // (len(key) + 1))


def entry_of(key: str) -> KeptResult:
    """A result under a key of its own."""
    return KeptResult(key, "search", "1", f'{{"query":"{key}"}}', "", "ok", text_of(key), 0.5, time.time())


if __name__ == "__main__":
    file, name = sys.argv[1:]
    store = Store(Path(file))
    store.open()
    for number in count():
        key = f"{name}-{number}"
        _, in_file = store.put(entry_of(key))
        if in_file:
            print(key, flush=True)
