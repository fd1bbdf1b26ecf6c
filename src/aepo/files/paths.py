"""Expands `~` in paths as a shell does, for configurations, commands and Python."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path


def expanded(path: str | PathLike[str]) -> str:
    """Expand `~` or `~user` before a slash, or alone; any other text stays as it is."""
    return os.path.expanduser(os.fspath(path))


def local(path: str | PathLike[str]) -> Path:
    """The path with `~` expanded."""
    return Path(expanded(path))
