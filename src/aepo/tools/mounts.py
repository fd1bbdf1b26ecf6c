"""Finds the type of a path's file system in the kernel's table of mounts."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"9p|acfs|afs|cifs|coda|gfs2|ncpfs|nfs4?|ocfs2|orangefs|panfs|pvfs2|quobyte|smb[23]?|smbfs"
    r"|(fuse\.)?(beegfs|ceph|ceph-fuse|glusterfs|gpfs|juicefs|lustre|moosefs|weka|wekafs)"
    r"|fuse\.(curlftpfs|gcsfuse|goofys|mount-s3|rclone|s3fs|sshfs)"
)
"""File systems over a network or shared between hosts, on which SQLite's locks and shared memory are not reliable."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def file_system(path: Path, table: str) -> str | None:
    """The type of the file system that holds `path`; None if the table does not say.

    Args:
        path: Absolute path without links; it need not exist.
        table: Text as in /proc/self/mountinfo (man 5 proc).
    """
    found: str | None = None
    deepest = -1
    for line in table.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if not dash or len(fields) < 5 or not kind:
            continue
        point = Path(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), fields[4]))
        # If several mounts have the same place, the last one counts.
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            found, deepest = kind, len(point.parts)
    return found


def network_file_system(path: Path) -> str | None:
    """The type of the network file system that holds `path`; None if it is local or unknown."""
    try:
        table = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = file_system(path.resolve(), table)
    return kind if kind is not None and _NETWORK.fullmatch(kind) else None
