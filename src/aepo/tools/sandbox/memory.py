"""Measures the memory of one program's processes from the host, through /proc."""

from __future__ import annotations

import os

_PAGE = os.sysconf("SC_PAGE_SIZE")
_FILE = 8 << 10
"""Bytes that a file counts besides its content: its inode and name take memory in the kernel. Rounded up."""


def holds_more(first: int, limit: int, scratch: tuple[str, ...] = ()) -> bool:
    """Tell whether process `first`, its descendants and its files in memory hold more than `limit` bytes.

    Pages that forked processes share count once. Memory that the kernel holds for them (buffers of pipes and sockets)
    is not counted.

    Args:
        first: Number of the process that all others descend from, including those whose parent has ended.
        limit: The limit in bytes.
        scratch: The file systems that are in memory, by the paths that the program sees.
    """
    files = sum(_held_by_files(f"/proc/{first}/root{folder}") for folder in scratch)
    tree = _descendants(first)
    # This sum is cheap and never too low. Only if it is over the limit must the kernel walk the page tables.
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
    # pathlib interns every part of a path. Each look has new process numbers, so the table of interned strings (1 MB)
    # would be allocated again and again in many threads, and each thread's heap would keep the freed space.
    with open(path) as file:
        return file.read()
