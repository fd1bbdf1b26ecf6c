"""The filter as a program of the kernel's little machine, walked through here."""

import errno
import struct
from collections.abc import Iterator
from itertools import product

import pytest

from aepo.tools.sandbox import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
KINDS = list(product((False, True), (False, True)))


def answer(program: bytes, machine: str, number: int, *arguments: int) -> int | None:
    """The errno that a call ends with, None if the kernel gets it."""
    data = struct.pack("IIQ6Q", number, ARCHITECTURES[machine], 0, *arguments, *[0] * (6 - len(arguments)))
    found = verdict(program, data)
    if found == ALLOW:
        return None
    assert found & ~0xFFFF == 0x50000, hex(found)
    return found & 0xFFFF


def verdict(program: bytes, data: bytes) -> int:
    lines = list(struct.iter_unpack("HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = lines[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("I", data, value)
            continue
        holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
        at += if_true if holds else if_false


def filters(machine: str) -> Iterator[tuple[bytes, bool, bool]]:
    for as_host_user, shared_files in KINDS:
        program = seccomp.program(machine, as_host_user, shared_files)
        assert program is not None
        yield program, as_host_user, shared_files


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_listed_call_is_refused_and_ordinary_ones_are_not(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    ordinary = [(0, 1, 3, 61), (63, 64, 57, 260)][column]
    for program, as_host_user, _ in filters(machine):
        listed = [seccomp._DENIED, *([seccomp._DENIED_AS_HOST_USER] if as_host_user else [])]
        numbers = [n[column] for table in listed for n in table.values() if n[column] is not None]
        assert {answer(program, machine, n) for n in numbers if n is not None} == {errno.EPERM}
        pretended = [n[column] for n in seccomp._PRETENDED.values()]
        assert {answer(program, machine, n) for n in pretended} == {0}
        assert len({*numbers, *pretended}) == len(numbers) + len(pretended)
        assert {answer(program, machine, n) for n in ordinary} == {None}
        assert answer(program, machine, 435) == answer(program, machine, 463) == errno.ENOSYS
        assert answer(program, machine, 0x40000000 | 1) == errno.EPERM
        assert verdict(program, struct.pack("IIQ6Q", 5, 0x40000003, 0, *[0] * 6)) == KILL


EPERM, NOTTY, NO_FAMILY, NO_LOCK = errno.EPERM, errno.ENOTTY, errno.EAFNOSUPPORT, errno.ENOLCK
READ_LOCK_OF_PROCESS, WAITING_LOCK_OF_PROCESS = 6, 7

# Name, number on x86-64 and on ARM64, arguments, and the errno: of any program, of one that runs as the host's user, of
# one that reads the host's own files. None: the kernel gets it.
BY_ARGUMENT = [
    ("clone", (56, 220), (17,), None, None, None),
    ("clone of a user namespace", (56, 220), (0x10000000 | 17,), EPERM, EPERM, EPERM),
    ("socket of the internet", (41, 198), (2, 1), None, NO_FAMILY, None),
    ("socket by name", (41, 198), (1, 1), None, NO_FAMILY, None),
    ("socket to the virtual machine's host", (41, 198), (40, 1), NO_FAMILY, NO_FAMILY, NO_FAMILY),
    ("socket of the kernel", (41, 198), (16, 3), NO_FAMILY, NO_FAMILY, NO_FAMILY),
    ("pair of streams", (53, 199), (1, 0x80001), None, None, None),
    ("pair of datagrams", (53, 199), (1, 2), None, EPERM, None),
    ("own limits", (302, 261), (0,), None, None, None),
    ("limits of another", (302, 261), (1,), None, EPERM, None),
    ("scheduler of another", (144, 119), (1,), None, EPERM, None),
    ("cores of another", (203, 122), (1,), None, EPERM, None),
    ("no new rights", (157, 167), (38,), None, None, None),
    ("signal when the parent dies", (157, 167), (1,), None, EPERM, None),
    ("take others' children", (157, 167), (36,), None, EPERM, None),
    ("is it a terminal", (16, 29), (0, 0x5401), None, None, None),
    ("bytes to be read", (16, 29), (0, 0x541B), None, None, None),
    ("not to block", (16, 29), (0, 0x5421), None, None, None),
    ("not to be inherited", (16, 29), (0, 0x5451), None, None, None),
    ("push characters into a terminal", (16, 29), (0, 0x5412), NOTTY, NOTTY, NOTTY),
    ("take the console's output", (16, 29), (0, 0x541D), NOTTY, NOTTY, NOTTY),
    ("flags of a file", (16, 29), (0, 0x40086602), NOTTY, NOTTY, NOTTY),
    ("project of a file", (16, 29), (0, 0x401C5820), NOTTY, NOTTY, NOTTY),
    ("seal a file for good", (16, 29), (0, 0x40806685), NOTTY, NOTTY, NOTTY),
    ("write a file system to disk", (16, 29), (0, 0x9408), NOTTY, NOTTY, NOTTY),
    ("freeze a file system", (16, 29), (0, 0xC0045877), NOTTY, NOTTY, NOTTY),
    ("signals when there is something", (16, 29), (0, 0x5452), NOTTY, NOTTY, NOTTY),
    ("owner to be signalled, by ioctl", (16, 29), (0, 0x8901), NOTTY, NOTTY, NOTTY),
    ("copy a descriptor", (72, 25), (0, 1030), None, None, None),
    ("flags of a descriptor", (72, 25), (0, 4), None, None, None),
    ("look at a lock", (72, 25), (0, 5), None, None, None),
    ("lock of a process", (72, 25), (0, READ_LOCK_OF_PROCESS), None, None, 0),
    ("lock of a process, waiting", (72, 25), (0, WAITING_LOCK_OF_PROCESS), None, None, 0),
    ("lock of an open file", (72, 25), (0, 37), None, None, NO_LOCK),
    ("lock of an open file, waiting", (72, 25), (0, 38), None, None, NO_LOCK),
    ("flock, shared", (73, 32), (0, 1), None, None, NO_LOCK),
    ("flock, alone", (73, 32), (0, 2), None, None, NO_LOCK),
    ("lease", (72, 25), (0, 1024), EPERM, EPERM, EPERM),
    ("watch of a folder", (72, 25), (0, 1026), EPERM, EPERM, EPERM),
    ("owner to be signalled", (72, 25), (0, 8), EPERM, EPERM, EPERM),
    ("owner to be signalled, extended", (72, 25), (0, 15), EPERM, EPERM, EPERM),
    ("which signal", (72, 25), (0, 10), EPERM, EPERM, EPERM),
    ("larger pipe", (72, 25), (0, 1031), EPERM, EPERM, EPERM),
    ("hint to the disk", (72, 25), (0, 1038), EPERM, EPERM, EPERM),
    ("delegation", (72, 25), (0, 1040), EPERM, EPERM, EPERM),
    ("command that nobody knows yet", (72, 25), (0, 1999), EPERM, EPERM, EPERM),
    ("upper half is not looked at", (72, 25), (0, 1 << 32 | 1024), EPERM, EPERM, EPERM),
    ("let go of own memory", (28, 233), (0, 0, 4), None, None, None),
    ("push pages out", (28, 233), (0, 0, 21), EPERM, EPERM, EPERM),
    ("call pages cold", (28, 233), (0, 0, 20), EPERM, EPERM, EPERM),
]  # fmt: skip


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize(("name", "numbers", "arguments", "apart", "host_user", "shared"), BY_ARGUMENT)
def test_arguments_decide_where_a_call_is_both_needed_and_dangerous(
    machine: str,
    name: str,
    numbers: tuple[int, int],
    arguments: tuple[int, ...],
    apart: int | None,
    host_user: int | None,
    shared: int | None,
) -> None:
    number = numbers[list(ARCHITECTURES).index(machine)]
    for program, as_host_user, shared_files in filters(machine):
        # Each of the two only takes away.
        expected = host_user if as_host_user and host_user is not None else shared if shared_files else apart
        assert answer(program, machine, number, *arguments) == expected, (name, as_host_user, shared_files)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_of_all_commands_of_fcntl_only_those_listed_reach_the_kernel(machine: str) -> None:
    number = (72, 25)[list(ARCHITECTURES).index(machine)]
    for program, _, shared_files in filters(machine):
        through = {command for command in range(2048) if answer(program, machine, number, 0, command) is None}
        assert through == set(seccomp._FCNTL) - ({6, 7, 37, 38} if shared_files else set())


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    assert seccomp.program("riscv64") is None
