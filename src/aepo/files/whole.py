"""Atomic writes: a file has its new or its old content, even if the process is killed."""

from __future__ import annotations

import os
from pathlib import Path

UNFINISHED = ".tmp-"
"""How the name of a file begins that is being written, or was when the process was killed."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: readers see the new or the old content.

    Raises:
        OSError: The disk refuses; the temporary file is removed.
    """
    aside = path.with_name(f"{UNFINISHED}{path.name}-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
