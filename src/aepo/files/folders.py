"""Folders that are there whole or not at all, even if the process is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path


def put_in_place(aside: Path, final: Path) -> None:
    """Rename a folder that is on the disk; what has that name already is replaced.

    Two folders cannot be swapped atomically: between two renames the replaced one is found as `<name>.old`.

    Raises:
        OSError: The disk refuses; the earlier folder is where it was.
    """
    if not final.exists():
        os.rename(aside, final)
        sync(final.parent)
        return
    old = final.with_name(final.name + ".old")
    if old.exists():
        remove(old)
    os.rename(final, old)
    try:
        os.rename(aside, final)
    except OSError:
        os.rename(old, final)
        raise
    sync(final.parent)
    remove(old)


def remove(path: Path) -> None:
    """Delete a folder without leaving half of it in view; what cannot be deleted is left as `.tmp-removed-<name>`."""
    gone = path.with_name(f".tmp-removed-{path.name}")
    with contextlib.suppress(OSError):
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(path, gone)
        shutil.rmtree(gone)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk.

    Raises:
        OSError: The disk refuses.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot sync a folder, but they keep the order of renames.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)
