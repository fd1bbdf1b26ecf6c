"""A small seccomp filter: system calls that a program that computes never needs.

It closes what the isolating tools leave open: nested user namespaces (a wide door to the kernel), ptrace, io_uring,
keys, BPF, memory that no limit counts (memfd, System V), queues of the whole host, and sockets to the host of a virtual
machine.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct

# Name: number on x86-64, on ARM64; None where it does not exist.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "vmsplice": (278, 75),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
# Where a program runs as the host's user without a file system of its own: owner, mode, times and attributes of files,
# which Landlock does not guard; priorities of the user's other processes; pipes with a name, whose opening would hold
# up the supervisor that opens files for the program.
_DENIED_AS_HOST_USER: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
}
# There, calls whose first argument is a process are for the caller alone, who says 0.
_OF_A_PROCESS: dict[str, tuple[int, int]] = {
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
}
# Column, audit architecture, clone, socket, socketpair, ioctl, prctl.
_MACHINES = {"x86_64": (0, 0xC000003E, 56, 41, 53, 16, 157), "aarch64": (1, 0xC00000B7, 220, 198, 199, 29, 167)}

_PARENT_DEATH_SIGNAL, _SUBREAPER = 1, 36
_CLONE3 = 435
_CLONE_NEWUSER = 0x10000000
_X32 = 0x40000000
_UNKNOWN = 463
"""The first number that is newer than this list."""
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
"""A network namespace keeps these apart from the host; others, AF_VSOCK for one, it does not."""

_COMMANDS = (0x40086602, 0x401C5820, 0x5412, 0x541C)
"""Of ioctl: flags and project of a file by its owner, characters pushed into a terminal."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24


def program(machine: str | None = None, as_host_user: bool = False) -> bytes | None:
    """The filter as an array of `struct sock_filter`; None on a machine whose numbers are not known here.

    Args:
        machine: As `platform.machine()` names it; this one by default.
        as_host_user: The program runs as the host's user and sees its files and processes; refuse more.
    """
    if (machine or platform.machine()) not in _MACHINES:
        return None
    column, architecture, clone, socket_, pair, ioctl, prctl = _MACHINES[machine or platform.machine()]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_AT_LEAST, 0, 1, _UNKNOWN),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        # Its flags lie in memory, where a filter cannot look; libc falls back to clone.
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    denied = _DENIED | (_DENIED_AS_HOST_USER if as_host_user else {})
    for numbers in denied.values():
        if (number := numbers[column]) is not None:
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    for numbers in _OF_A_PROCESS.values() if as_host_user else ():
        lines += [
            (_EQUAL, 0, 4, numbers[column]),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_EQUAL, 1, 0, 0),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
    if as_host_user:
        # One end of a pair of datagram sockets can be turned to a socket of the host; of a stream it cannot.
        lines += [
            (_EQUAL, 0, 4, pair),
            (_LOAD, 0, 0, _SECOND_ARGUMENT),
            (_ANY_BIT, 0, 1, socket.SOCK_DGRAM),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
            # Its first process stays the parent of all that lose theirs, and dies with its supervisor.
            (_EQUAL, 0, 5, prctl),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (_EQUAL, 1, 0, _PARENT_DEATH_SIGNAL),
            (_EQUAL, 0, 1, _SUBREAPER),
            (_RETURN, 0, 0, _ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
    # Without a network of its own it gets no socket: Landlock overlooks some ways to connect, TCP fast open for one.
    families = () if as_host_user else _FAMILIES
    lines += [
        (_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_NEWUSER),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, len(families) + 3, socket_),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *((_EQUAL, len(families) - i, 0, family) for i, family in enumerate(families)),
        (_RETURN, 0, 0, _ERRNO | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, len(_COMMANDS) + 3, ioctl),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        *((_EQUAL, len(_COMMANDS) - i, 0, command) for i, command in enumerate(_COMMANDS)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
