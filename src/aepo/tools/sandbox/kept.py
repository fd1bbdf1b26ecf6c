"""Finds folders that are kept between programs and runs."""

from __future__ import annotations

import os
from pathlib import Path


def kept(name: str) -> Path:
    """Return the folder of that name in this user's cache; it is made if it is not there.

    Raises:
        OSError: It cannot be made, for instance because the user has no home; XDG_CACHE_HOME names another place.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise OSError(str(error)) from error
    folder = cache.absolute() / "aepo" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
