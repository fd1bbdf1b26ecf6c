"""Files that are whole or as they were before, whatever ends the process that writes them."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file such that readers see all of it or what was there before.

    Raises:
        OSError: The disk refuses; nothing is left of the attempt.
    """
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
