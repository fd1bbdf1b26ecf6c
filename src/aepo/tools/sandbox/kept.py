"""Folders of this user that outlast a program and a run, for what is the same for all programs."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def kept(name: str) -> Path:
    """The folder of that name, made if it is not there; nobody else can write to it.

    Raises:
        OSError: It cannot be made, or somebody else has made one in its place.
    """
    own = Path(tempfile.gettempdir()) / f"aepo-kept-{os.geteuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    found = own.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{own} belongs to somebody else; remove it, or set TMPDIR")
    folder = own / name
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder
