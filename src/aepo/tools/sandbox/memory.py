"""How much memory the processes of one program hold, seen from the host through /proc."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_FILE = 8 << 10
"""What a file is charged beside its bytes: its inode and its name lie in the kernel's memory. Rounded up."""


def holds_more(first: int, limit: int, scratch: tuple[str, ...] = ()) -> bool:
    """Whether process `first` and all its descendants, and the files in its memory, hold more than `limit` bytes.

    Pages that forked processes share count once. What the kernel holds for them (buffers of pipes and sockets) is not
    seen.

    Args:
        first: Process number of the one that all others descend from, even those whose parent has ended.
        limit: Bytes.
        scratch: Its file systems that are memory, as it names them.
    """
    files = sum(_held_by_files(f"/proc/{first}/root{folder}") for folder in scratch)
    tree = _descendants(first)
    # Cheap, and never less than the truth; only where it is too much the kernel has to walk page tables.
    if files + sum(map(_resident, tree)) <= limit:
        return False
    return files + sum(map(_proportional, tree)) > limit


def _descendants(first: int) -> list[int]:
    found, i = [first], 0
    while i < len(found):
        try:
            for thread in os.listdir(f"/proc/{found[i]}/task"):
                found += map(int, _read(f"/proc/{found[i]}/task/{thread}/children").split())
        except OSError:
            pass
        i += 1
    return found


def _resident(process: int) -> int:
    try:
        return int(_read(f"/proc/{process}/statm").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(process: int) -> int:
    try:
        for line in _read(f"/proc/{process}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        pass
    return _resident(process)


def _held_by_files(folder: str) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return (found.f_blocks - found.f_bfree) * found.f_frsize + (found.f_files - found.f_ffree) * _FILE


def _read(path: str) -> str:
    # Not by pathlib, which interns every part of a path. The table of interned strings is a megabyte; process numbers,
    # new ones with every look, have it allocated anew again and again, and in whichever thread: each keeps the hole.
    with open(path) as file:
        return file.read()
