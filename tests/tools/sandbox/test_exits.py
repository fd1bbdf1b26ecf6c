"""How a process ended, told by the kernel through its pidfd."""

import os
import platform

import pytest

from aepo.tools.sandbox.exits import exit_code


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 137", 137), ("exit 255", 255), ("kill -9 $$", -9)])
def test_an_exit_status_and_a_signal_of_one_number_are_told_apart(script: str, code: int) -> None:
    process = os.posix_spawn("/bin/sh", ["sh", "-c", script], {})
    pidfd = os.pidfd_open(process)
    try:
        os.waitpid(process, 0)
        told = exit_code(pidfd)
    finally:
        os.close(pidfd)
    if told is None and tuple(map(int, platform.release().split(".")[:2])) < (6, 15):
        pytest.skip("this kernel does not tell")
    assert told == code


def test_of_what_still_runs_or_is_no_process_nothing_is_told() -> None:
    own = os.pidfd_open(os.getpid())
    try:
        assert exit_code(own) is None
    finally:
        os.close(own)
    with open(os.devnull) as file:
        assert exit_code(file.fileno()) is None
