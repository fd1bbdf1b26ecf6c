"""The filter as a program of the kernel's little machine, walked through here."""

import errno
import struct

import pytest

from aepo.tools.sandbox import seccomp

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
NO_FAMILY = 0x50000 | errno.EAFNOSUPPORT
X86, ARM = 0xC000003E, 0xC00000B7


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    data = struct.pack("IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
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


@pytest.mark.parametrize("as_host_user", [False, True])
@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", X86), ("aarch64", ARM)])
def test_every_listed_call_is_refused_and_ordinary_ones_are_not(
    machine: str, architecture: int, as_host_user: bool
) -> None:
    program = seccomp.program(machine, as_host_user)
    assert program is not None
    column = 0 if architecture == X86 else 1
    denied = seccomp._DENIED | (seccomp._DENIED_AS_HOST_USER if as_host_user else {})
    numbers = [n[column] for n in denied.values() if n[column] is not None]
    assert {verdict(program, architecture, n) for n in numbers if n is not None} == {EPERM}
    assert len(set(numbers)) == len(numbers)
    read, write, close, wait = (0, 1, 3, 61) if architecture == X86 else (63, 64, 57, 260)
    assert {verdict(program, architecture, n) for n in (read, write, close, wait)} == {ALLOW}
    assert verdict(program, 0x40000003, 5) == KILL
    assert verdict(program, architecture, 435) == verdict(program, architecture, 463) == ENOSYS


def test_arguments_decide_where_a_call_is_both_needed_and_dangerous() -> None:
    apart, shared = seccomp.program("x86_64"), seccomp.program("x86_64", as_host_user=True)
    assert apart is not None and shared is not None
    clone, socket, pair, ioctl, prlimit, prctl, x32 = 56, 41, 53, 16, 302, 157, 0x40000000
    for program in (apart, shared):
        assert verdict(program, X86, clone, 17) == ALLOW
        assert verdict(program, X86, clone, 0x10000000 | 17) == EPERM
        assert verdict(program, X86, ioctl, 0, 0x5401) == ALLOW
        assert verdict(program, X86, ioctl, 0, 0x5412) == EPERM
        assert verdict(program, X86, x32 | 1) == EPERM
    assert verdict(apart, X86, socket, 2, 1) == ALLOW
    assert verdict(apart, X86, socket, 40, 1) == verdict(apart, X86, socket, 16, 3) == NO_FAMILY
    assert verdict(shared, X86, socket, 2, 1) == verdict(shared, X86, socket, 1, 1) == NO_FAMILY
    assert verdict(shared, X86, pair, 1, 0x80001) == ALLOW
    assert verdict(shared, X86, pair, 1, 2) == EPERM and verdict(apart, X86, pair, 1, 2) == ALLOW
    assert verdict(shared, X86, prlimit, 0) == ALLOW and verdict(shared, X86, prlimit, 1) == EPERM
    assert verdict(shared, X86, prctl, 38) == ALLOW and verdict(shared, X86, prctl, 36) == EPERM


def test_a_machine_that_is_not_known_has_no_filter() -> None:
    assert seccomp.program("riscv64") is None
