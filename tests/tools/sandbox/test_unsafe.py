"""No sandbox: asked for by name, said once, and otherwise like the others for programs that mean no harm."""

import logging
import os

import anyio
import pytest

from aepo.tools.python import python
from aepo.tools.sandbox import unsafe
from aepo.tools.sandbox.base import SandboxStatus
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.probe import probe, processes_with


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("print('hi')", SandboxStatus.OK),
        ("1 / 0", SandboxStatus.ERROR),
        ("while True: pass", SandboxStatus.TIMEOUT),
        ("while True: print('x' * 9999)", SandboxStatus.OUTPUT_LIMIT),
        ("b = bytearray(4 << 30)", SandboxStatus.MEMORY_LIMIT),
        ("import ctypes; ctypes.string_at(0)", SandboxStatus.KILLED),
    ],
)
def test_programs_end_as_in_a_sandbox(code: str, status: SandboxStatus) -> None:
    assert anyio.run(choose("unsafe_no_sandbox").run, code, 0.5 if "pass" in code else 20).status is status


def test_the_probe_would_not_let_it_pass() -> None:
    assert any("file: not contained" in failed for failed in probe(choose("unsafe_no_sandbox")))


def test_a_warning_is_logged_once_in_a_process(caplog: pytest.LogCaptureFixture) -> None:
    unsafe._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        choose("unsafe_no_sandbox")
        choose("unsafe_no_sandbox")
    assert [record.message.partition(":")[0] for record in caplog.records] == ["unsafe_no_sandbox"]


def test_the_tool_tells_the_records_of_the_run() -> None:
    assert python(sandbox="unsafe_no_sandbox").details == {"sandbox": "unsafe_no_sandbox"}


def test_children_in_its_process_group_end_with_it() -> None:
    marker = f"unsafe-{os.getpid()}"
    code = f"import os\nif os.fork() == 0: os.execv('/bin/sleep', [{marker!r}, '60'])\nprint('done')"
    assert anyio.run(choose("unsafe_no_sandbox").run, code, 20).stdout == "done\n"
    assert processes_with(marker) == []
