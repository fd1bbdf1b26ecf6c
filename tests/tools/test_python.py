"""The python tool: short results, honest statuses."""

import anyio
import pytest

from aepo.tools.python import python
from aepo.tools.sandbox.base import SandboxResult, SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.types import ToolResult, ToolStatus


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    try:
        choose()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def run(code: str, timeout: float = 10) -> ToolResult:
    return anyio.run(python(timeout=timeout).call, {"code": code})


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("print(6 * 7)", "42"),
        ("x = 6\nx * 7", "42"),
        ("'text'", "'text'"),
        ("print('a')\n'b'", "a\n'b'"),
        ("x = 1", "no output; use print()"),
        ("None", "no output; use print()"),
        ("", "no output; use print()"),
        ("print('a')\n\n1 / 0", "a\nZeroDivisionError: division by zero (line 3)"),
        ("def f():\n    return g()\ndef g():\n    return {}['k']\nf()", "KeyError: 'k' (line 4)"),
        ("def (", "SyntaxError: invalid syntax (line 1)"),
        ("raise ValueError", "ValueError (line 1)"),
        ("raise ValueError('a\\nb')", "ValueError: a b (line 1)"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere' (line 1)"),
        ("def f(): f()\nf()", "RecursionError: maximum recursion depth exceeded (line 1)"),
        ("print('é', '\\U0001f99c')", "é 🦜"),
        ("print('\\'\"', \"\\\\\")", "'\" \\"),
        ("class A:\n    def __repr__(self): return 'me'\nA()", "me"),
        ("import sys\nprint('out')\nsys.exit('given up')", "out\ngiven up"),
        ("import ctypes; ctypes.string_at(0)", "crashed, or used too much memory"),
        ("x = [0]\nwhile True: x += x", "MemoryError (line 2); used too much memory"),
        ("b = bytearray(10 << 30)", "MemoryError (line 1); used too much memory"),
        ("[__name__, type(_notebook)]", "NameError: name '_notebook' is not defined (line 1)"),
    ],
)
def test_what_the_model_reads(code: str, text: str) -> None:
    result = run(code)
    assert (result.text, result.status) == (text, ToolStatus.OK)


def test_names_defined_are_seen_by_functions_and_pickles() -> None:
    code = "import pickle\nclass A: pass\ndef f(): return [A() for _ in range(2)]\nlen(pickle.loads(pickle.dumps(f())))"
    assert run(code).text == "2"


def test_a_program_that_takes_too_long_is_a_timeout() -> None:
    result = run("while True: pass", timeout=0.3)
    assert result.status is ToolStatus.TIMEOUT and result.text == "stopped after 0.3 s; write a faster program"


def test_long_output_is_cut_but_the_error_stays() -> None:
    result = anyio.run(python(max_characters=100).call, {"code": "print('x' * 5000)\n1 / 0"})
    assert result.text.startswith("x" * 100 + "\n[cut: 4900 more characters]\nZeroDivisionError")


def test_a_huge_error_message_is_short() -> None:
    assert len(run("raise Exception('A' * (100 << 20))").text) < 400


def test_a_flood_is_stopped_and_said() -> None:
    assert run("while True: print('x' * 100)").text.endswith("stopped: printed too much")


def test_half_a_surrogate_pair_in_the_program_is_its_own_error() -> None:
    assert run("print('\ud800')").text.startswith("UnicodeEncodeError")


class Flaky:
    """Fails some times, then answers."""

    name = "flaky"

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def run(self, code: str, timeout: float) -> SandboxResult:
        self.failures -= 1
        if self.failures >= 0:
            return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, "", "no namespaces")
        return SandboxResult(SandboxStatus.OK, "fine\n", "", 0)


def test_a_failure_of_the_sandbox_is_tried_once_more_and_never_blamed_on_the_program() -> None:
    assert anyio.run(python(sandbox=Flaky(1)).call, {"code": "1"}).text == "fine"
    result = anyio.run(python(sandbox=Flaky(2)).call, {"code": "1"})
    assert result.status is ToolStatus.ERROR and result.text == "python is unavailable now; go on without it"


def test_a_program_killed_for_what_its_processes_hold_is_told_so() -> None:
    class Small:
        name = "small"

        async def run(self, code: str, timeout: float) -> SandboxResult:
            return SandboxResult(SandboxStatus.MEMORY_LIMIT, "before\n", "", None)

    assert anyio.run(python(sandbox=Small()).call, {"code": "1"}).text == "before\nstopped: used too much memory"


def test_the_sandbox_in_use_stands_in_the_details_of_the_tool() -> None:
    assert python(sandbox=Flaky(0)).details == {"sandbox": "flaky"}
    assert python().details == {"sandbox": choose().name}
    assert python(sandbox=choose().name).details == {"sandbox": choose().name}


def test_an_unknown_sandbox_is_refused() -> None:
    with pytest.raises(ValueError, match="sandbox 'docker' is unknown; known: bubblewrap, sandlock"):
        python(sandbox="docker")
