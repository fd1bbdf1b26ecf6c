"""A small seccomp filter for bubblewrap, which brings none: system calls a program that computes never needs.

It closes what namespaces leave open: nested user namespaces (a wide door to the kernel), ptrace, io_uring, keys, BPF.
"""

from __future__ import annotations

import errno
import platform
import struct

_COMMON = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442)
"""io_uring, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, pidfd_getfd, mount_setattr: alike on all."""

_CLONE3 = 435
_CLONE_NEWUSER = 0x10000000
_X32 = 0x40000000

# Per machine: audit architecture, clone, and unshare, setns, mount, umount2, pivot_root, chroot, ptrace,
# process_vm_readv, process_vm_writev, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd,
# open_by_handle_at, kexec_load, init_module, delete_module, finit_module.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        56,
        (272, 308, 165, 166, 155, 161, 101, 310, 311, 250, 248, 249, 321, 298, 323, 304, 246, 175, 176, 313),
    ),
    "aarch64": (
        0xC00000B7,
        220,
        (97, 268, 40, 39, 41, 51, 117, 270, 271, 219, 217, 218, 280, 241, 282, 265, 104, 105, 106, 273),
    ),
}

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def program(machine: str | None = None) -> bytes | None:
    """The filter as an array of `struct sock_filter`; None on a machine whose numbers are not known here."""
    if (machine or platform.machine()) not in _MACHINES:
        return None
    architecture, clone, denied = _MACHINES[machine or platform.machine()]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        # Its flags lie in memory, where a filter cannot look; libc falls back to clone.
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for number in (*denied, *_COMMON):
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    lines += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_NEWUSER),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
