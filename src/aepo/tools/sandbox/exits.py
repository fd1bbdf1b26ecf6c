"""How a process ended that is not ours to wait for, by its pidfd (Linux 6.15 and later)."""

from __future__ import annotations

import fcntl
import os
import struct
import sys

_GET_INFO = 0xC040FF0B
_EXIT = 1 << 3
_SIZE, _CODE = 64, 60
"""Of `struct pidfd_info`: its bytes, and where the wait status lies in it."""


def exit_code(pidfd: int) -> int | None:
    """Exit status, or minus the signal; None if it has not been waited for yet, or the kernel does not tell."""
    about = bytearray(_SIZE)
    struct.pack_into("Q", about, 0, _EXIT)
    try:
        fcntl.ioctl(pidfd, _GET_INFO, about)
    except OSError:
        return None
    if not struct.unpack_from("Q", about, 0)[0] & _EXIT:
        return None
    return os.waitstatus_to_exitcode(int.from_bytes(about[_CODE:], sys.byteorder))
