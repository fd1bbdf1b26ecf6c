"""Builds a small seccomp filter. It refuses system calls that a program that computes never needs.

The isolating tools allow some calls that are not safe here. The filter refuses nested user namespaces (they open much
of the kernel to attack), ptrace, io_uring, keys, BPF, memory that no limit counts (memfd, System V), queues of the
whole host, and sockets to the host of a virtual machine. It also refuses calls that make others wait for a file that
they share with the program: leases, locks, writing to disk.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

# By name: the number on x86-64 and on ARM64; None if the call does not exist there.
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
    "cachestat": (451, 451),
}
# These calls do nothing and report success. A program's files are lost with the call, so they need not reach a disk.
# The real calls would make the host write its files (all of them, or one that the program may only read) while others
# wait. The last one would drop files from memory that others have read.
_PRETENDED: dict[str, tuple[int, int]] = {
    "sync": (162, 81),
    "syncfs": (306, 267),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "sync_file_range": (277, 84),
    "msync": (26, 227),
    "fadvise64": (221, 223),
}
# Refused if a program runs as the host's user without a file system of its own. These calls change the owner, mode,
# times and attributes of files, which Landlock does not protect, or priorities of the user's other processes. They also
# make named pipes: to open one would block the supervisor, which opens files for the program.
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
# Calls whose first argument is a process. Such a program may call them only for itself, with the number 0.
_OF_A_PROCESS = ((302, 261), (142, 118), (144, 119), (203, 122), (314, 274))
# By machine: the column in all tables, and the audit architecture.
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_PARENT_DEATH_SIGNAL, _SUBREAPER = 1, 36
_CLONE3 = (435, 435)
_CLONE_NEWUSER = 0x10000000
_X32 = 0x40000000
_UNKNOWN = 463
"""The first call number that is newer than this list."""
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
"""Families that a network namespace separates from the host. It does not separate others, for example AF_VSOCK."""

_TERMINAL = (*range(0x5401, 0x540C), 0x540E, 0x540F, 0x5410, 0x5411, 0x5413, 0x5414, 0x5422, 0x5429, 0x5441)
_PAIR = (0x80045430, 0x40045431)
"""ioctl commands for the settings, size and groups of a terminal, and for making a pair of terminals."""
_NETWORK = (0x8910, 0x8912, 0x8913, 0x8915, 0x8921, 0x8927, 0x8933)
"""ioctl commands that read the program's own network settings."""
_IOCTL = (*_TERMINAL, *_PAIR, *_NETWORK, 0x541B, 0x5421, 0x5450, 0x5451)
"""All allowed ioctl commands. The last four read the number of waiting bytes, and set blocking and inheritance.
None of them acts on a file."""

_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1027, 1028, 1030, 1032)
"""Allowed fcntl commands: copies, flags, locks. These are left out: leases (1024), because others wait for them;
watches (1026), because they show what others do; owners of signals; larger pipes, which count for the user; hints to
the disk."""
_PROCESS_LOCKS, _FILE_LOCKS = (6, 7), (37, 38)
_COLD, _PAGEOUT = 20, 21

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

FilterLine = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Rule:
    """Refuses a call for some values of one of its arguments.

    Attributes:
        numbers: The call's number in each column.
        argument: The place of the argument, counted from 0; only its lower 32 bits are compared.
        values: The values to compare with.
        errno: The error that the call returns; 0 means that it reports success and does nothing.
        refuse: True to refuse these values, False to refuse all others.
        bit: True if the values are bits, one of which is enough.
    """

    numbers: tuple[int, int]
    argument: int
    values: tuple[int, ...]
    errno: int = errno.EPERM
    refuse: bool = True
    bit: bool = False

    def lines(self) -> Iterator[FilterLine]:
        """Yield lines that load the argument, compare it, then return an answer or load the call's number again."""
        yield (_LOAD, 0, 0, _ARGUMENTS + 8 * self.argument)
        compare, last = _ANY_BIT if self.bit else _EQUAL, len(self.values) - 1
        for i, value in enumerate(self.values):
            # A match jumps to the answer if the values are refused, else past it. If the last value does not match
            # either, the jump goes the other way.
            fits, misses = (last - i, int(i == last)) if self.refuse else (last - i + 1, 0)
            yield (compare, fits, misses, value)
        yield (_RETURN, 0, 0, _ERRNO | self.errno)
        yield (_LOAD, 0, 0, _NUMBER)


_FOR_ALL = (
    # clone3 has its flags in memory, which a filter cannot read; libc then uses clone.
    _Rule(_CLONE3, 0, (), errno.ENOSYS, refuse=False),
    _Rule((56, 220), 0, (_CLONE_NEWUSER,), bit=True),
    _Rule((16, 29), 1, _IOCTL, errno.ENOTTY, refuse=False),
    _Rule((72, 25), 1, _FCNTL, refuse=False),
    # madvise with these two would also drop pages that other programs use.
    _Rule((28, 233), 2, (_COLD, _PAGEOUT)),
)
_WITH_A_NETWORK = (_Rule((41, 198), 0, _FAMILIES, errno.EAFNOSUPPORT, refuse=False),)
_AS_HOST_USER = (
    *(_Rule(numbers, 0, (0,), refuse=False) for numbers in _OF_A_PROCESS),
    # The program has no network of its own and gets no socket: Landlock misses some ways to connect (TCP fast open).
    _Rule((41, 198), 0, (), errno.EAFNOSUPPORT, refuse=False),
    # One end of a pair of datagram sockets can be connected to a socket of the host; a stream socket cannot.
    _Rule((53, 199), 1, (socket.SOCK_DGRAM,), bit=True),
    # The first process must stay the parent of all that lose theirs, and must die with its supervisor.
    _Rule((157, 167), 0, (_PARENT_DEATH_SIGNAL, _SUBREAPER)),
)
# A lock makes others wait who lock the same file, and it works on files that the program may only read. A process never
# waits for its own locks, so for a program of one process it is correct to report that a lock was granted.
_WITH_SHARED_FILES = (
    _Rule((72, 25), 1, _PROCESS_LOCKS, 0),
    _Rule((72, 25), 1, _FILE_LOCKS, errno.ENOLCK),
    _Rule((73, 32), 0, (), errno.ENOLCK, refuse=False),
)


def program(machine: str | None = None, as_host_user: bool = False, shared_files: bool = False) -> bytes | None:
    """Build the filter as an array of `struct sock_filter`; None if the call numbers of the machine are not known here.

    Args:
        machine: The machine's name as in `platform.machine()`; by default this machine.
        as_host_user: True if the program runs as the host's user and sees its files and processes; more is refused.
        shared_files: True if the program reads the host's own files; locks on them are refused.
    """
    if (machine or platform.machine()) not in _MACHINES:
        return None
    column, architecture = _MACHINES[machine or platform.machine()]
    lines: list[FilterLine] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_AT_LEAST, 0, 1, _UNKNOWN),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    denied = _DENIED | (_DENIED_AS_HOST_USER if as_host_user else {})
    answers = [(numbers, errno.EPERM) for numbers in denied.values()] + [(n, 0) for n in _PRETENDED.values()]
    for numbers, answer in answers:
        if (number := numbers[column]) is not None:
            lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | answer)]
    rules = (*(_WITH_SHARED_FILES if shared_files else ()), *(_AS_HOST_USER if as_host_user else _WITH_A_NETWORK))
    for rule in (*rules, *_FOR_ALL):
        inside = list(rule.lines())
        lines += [(_EQUAL, 0, len(inside), rule.numbers[column]), *inside]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *line) for line in lines)
