"""`~` in paths, by one rule for configurations, commands and Python: what a shell makes of it."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path


def expanded(path: str | PathLike[str]) -> str:
    """A text with `~` or `~user` before a slash, or alone, as that home folder; any other text as it is."""
    return os.path.expanduser(os.fspath(path))


def local(path: str | PathLike[str]) -> Path:
    """The path that a person wrote, `~` expanded."""
    return Path(expanded(path))
