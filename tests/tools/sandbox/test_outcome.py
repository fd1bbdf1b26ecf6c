from __future__ import annotations

from aepo.tools.sandbox.base import SandboxStatus
from aepo.tools.sandbox.bootstrap import READY
from aepo.tools.sandbox.capture import Captured, End
from aepo.tools.sandbox.outcome import outcome


def test_a_sandbox_that_died_before_the_program_began_says_so() -> None:
    silent = outcome(Captured(End.EXIT, b"", b"\n"), -9, False, 0.1)
    assert silent.status is SandboxStatus.INFRASTRUCTURE_ERROR
    assert silent.stderr == "it ended before the program began (exit status -9)"
    told = outcome(Captured(End.EXIT, b"", b"bwrap: no namespaces\n"), 1, False, 0.1)
    assert told.status is SandboxStatus.INFRASTRUCTURE_ERROR and told.stderr == "bwrap: no namespaces\n"


def test_a_program_that_ends_by_itself_keeps_its_output_and_status() -> None:
    done = outcome(Captured(End.EXIT, READY + b"2\n", b""), 0, False, 0.1)
    assert (done.status, done.stdout, done.returncode) == (SandboxStatus.OK, "2\n", 0)
    half = outcome(Captured(End.EXIT, READY + "éé".encode()[:3], b"", 6), 0, False, 0.1)
    assert (half.stdout, half.left_out) == ("é", 4)
    refused = outcome(Captured(End.EXIT, READY, b"Traceback\nMemoryError: no room\n"), 1, False, 0.1)
    assert refused.status is SandboxStatus.MEMORY_LIMIT
    killed = outcome(Captured(End.TIMEOUT, READY + b"half", b""), None, True, 5.0)
    assert (killed.status, killed.stdout) == (SandboxStatus.TIMEOUT, "half")
