"""The python tool: short results, honest statuses."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.python import python, text_of
from aepo.tools.sandbox.base import SandboxLimits, SandboxResult, SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.unsafe import UnsafeNoSandbox
from aepo.tools.sandbox.worker import SandlockWorker
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
        ("[n for n in dir() if n[:2] != '__'], __name__, __file__", "([], '__main__', 'cell.py')"),
        ("print(42)\nexit()", "42"),
        ("def f():\n    print(1)\n    quit(3)\nf()", "1"),
        ("import sys\nprint('no solution')\nsys.exit(-1)", "no solution"),
        ("print('a')\nraise SystemExit('two\\nlines')", "a\ntwo\nlines"),
        ("import os\nprint('a', flush=True)\nos._exit(137)", "a"),
        ("import threading, sys\nt = threading.Thread(target=sys.exit)\nt.start()\nt.join()\n'after'", "'after'"),
        ("import signal\nsignal.alarm(1)\nwhile True: pass", "ended by signal 14"),
        ("import os\nos.kill(os.getpid(), 40)", "ended by signal 40"),
        ("import os\nos.kill(os.getpid(), 9)", "crashed, or used too much memory"),
        ("input('name? ')", "name? \nEOFError: EOF when reading a line (line 1); programs are given no input"),
        ("str = type = print = 1\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("print = repr = 1\n2", "2"),
        ("import sys\nsys.stdout.close()\n1 / 0", "ZeroDivisionError: division by zero (line 3)"),
        ("import os\nos.closerange(2, 99)\nprint('a')\n1 / 0", "a\nZeroDivisionError: division by zero (line 4)"),
        ("'\\ud800'", "'\\ud800'"),
        ("import sys\nsys.stdout.buffer.write(b'\\xff\\x00')\nNone", "\ufffd\x00"),
        ("print('\\x1b[31mred\\x1b[0m')", "\x1b[31mred\x1b[0m"),
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


def test_what_was_printed_before_the_time_was_up_or_the_program_died_is_shown() -> None:
    result = run("for i in range(3): print(i)\nwhile True: pass", timeout=1)
    assert result.status is ToolStatus.TIMEOUT and result.text == "0\n1\n2\nstopped after 1 s; write a faster program"
    assert run("print('a')\nimport ctypes; ctypes.string_at(0)").text == "a\ncrashed, or used too much memory"
    assert run("print('a')\nb = bytearray(10 << 30)").text == "a\nMemoryError (line 2); used too much memory"


WRITES = """
import os, sys
print('a', end='')
print('b', 'c', sep='', end=' ')
sys.stdout.write('d')
sys.stdout.buffer.write(b'e')
sys.stderr.write('f')
print('g', end='', file=sys.stderr)
sys.__stdout__.write('h')
sys.stdout.writelines(['i', 'j'])
"""
LATE, CRASHED = "\nstopped after 3 s; write a faster program", "\ncrashed, or used too much memory"
ENDS = {
    "while True: pass": LATE,
    "sum(range(10 ** 12))": LATE,
    "import time; time.sleep(99)": LATE,
    "if os.fork() == 0:\n    print('k', end='')\n    while True: pass\nos.wait()": "k" + LATE,
    "import ctypes; ctypes.string_at(0)": CRASHED,
    "os.kill(os.getpid(), 9)": CRASHED,
    "import signal; os.kill(os.getpid(), signal.SIGALRM)": "\nended by signal 14",
    "os._exit(137)": "",
    "held = bytearray(300 << 20)\nheld[::4096] = b'x' * len(held[::4096])\nwhile True: pass": (
        "\nstopped: used too much memory"
    ),
}


@pytest.mark.parametrize("backend", [SandlockWorker, BubblewrapSandbox, UnsafeNoSandbox])
def test_everything_that_was_written_is_shown_however_the_program_ends(
    backend: type[SandlockWorker | BubblewrapSandbox | UnsafeNoSandbox],
) -> None:
    if backend is not UnsafeNoSandbox:
        try:
            choose(backend.name)
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    box = backend(SandboxLimits(memory_total=200 << 20))
    # Without a sandbox nobody looks at the memory of programs.
    ends = {code: told for code, told in ENDS.items() if "held" not in code or backend is not UnsafeNoSandbox}
    shown: dict[str, str] = {}

    async def one(code: str) -> None:
        shown[code] = (await python(sandbox=box, timeout=3).call({"code": WRITES + code})).text

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for code in ends:
                tasks.start_soon(one, code)

    anyio.run(main)
    assert shown == {code: "abc defghij" + told for code, told in ends.items()}
    if isinstance(box, SandlockWorker):
        box.close()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("class W:\n    def write(self, text): told.append(text)\ntold = []\nprint(1, file=W())\ntold", "['1', '\\n']"),
        (
            "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as f: print(1)\nf.getvalue()",
            r"'1\n'",
        ),
        ("import sys\nsys.stdout = None\nprint(1)\nsys.stdout = sys.__stdout__\nprint(2)", "2"),
        ("import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint(1)", "1"),
        ("print(1, sep=2)", "TypeError: sep must be None or a string, not int (line 1)"),
        ("print(*'ab', sep=None, end=None)", "a b"),
        ("class A:\n    def __str__(self): 1 / 0\nprint('a', A())", "a \nZeroDivisionError: division by zero (line 2)"),
        ("print(1, last='')", "TypeError: print() got an unexpected keyword argument 'last' (line 1)"),
        ("import pickle\npickle.loads(pickle.dumps(print)) is print", "True"),
        ("import sys\nsys.stdout.name, sys.stdout.encoding, sys.stderr.name", "('<stdout>', 'utf-8', '<stderr>')"),
    ],
)
def test_print_and_its_streams_are_as_python_has_them(code: str, text: str) -> None:
    assert run(code).text == text


def test_lines_of_threads_and_processes_stay_whole() -> None:
    code = """
import os, threading
def lines():
    for _ in range(150): print('a' * 20, 'b' * 20)
if child := os.fork(): pass
threads = [threading.Thread(target=lines) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
if child: os.wait()
"""
    lines = anyio.run(python(timeout=30, max_characters=100_000).call, {"code": code}).text.split("\n")
    assert len(lines) == 1200 and set(lines) == {"a" * 20 + " " + "b" * 20}


def test_both_streams_are_shown_in_the_order_of_their_lines() -> None:
    code = "import subprocess, sys, warnings\nprint('one')\nprint('two', file=sys.stderr)\nwarnings.warn('three')\n"
    code += "subprocess.run('echo four; echo five >&2', shell=True)\nprint('six')"
    assert run(code).text.split("\n") == [
        "one", "two", "cell.py:4: UserWarning: three", "  warnings.warn('three')", "four", "five", "six"
    ]  # fmt: skip


def test_of_a_line_that_is_written_over_the_last_state_is_shown() -> None:
    bar = "import sys\nfor i in range(101): sys.stderr.write(f'\\r{i:3}%')\nprint('\\ndone')"
    assert run(bar).text == "100%\ndone"
    assert run("print('a\\r\\nb\\r')").text == "a\nb"


def test_lines_of_the_program_are_there_for_those_that_show_them() -> None:
    caught = "import traceback\ntry:\n    1 / 0\nexcept ArithmeticError:\n    traceback.print_exc()"
    shown = run(caught).text.splitlines()
    assert shown[:3] == ["Traceback (most recent call last):", '  File "cell.py", line 3, in <module>', "    1 / 0"]
    assert shown[-1] == "ZeroDivisionError: division by zero"
    asks = "import inspect\nclass A:\n    x = 1\ndef f(): return 2\nprint(inspect.getsource(A) + inspect.getsource(f))"
    assert run(asks).text == "class A:\n    x = 1\ndef f(): return 2"
    assert "Help on function f" in run("def f(): 'About f.'\nhelp(f)").text


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_processes_share_locks_however_they_are_started_or_it_is_said(start: str) -> None:
    code = f"""
import multiprocessing as m
def f(x): return x * x
if __name__ == "__main__":
    m.set_start_method({start!r})
    with m.Pool(2) as pool: print(pool.map(f, [1, 2, 3]))
"""
    text = anyio.run(python(timeout=60).call, {"code": code}).text
    said = "processes have no locks or memory in common here: use threading, or one process"
    assert text.endswith(said) if choose().name == "sandlock" else text == "[1, 4, 9]"


@pytest.mark.parametrize(
    "code",
    [
        "```python\nprint(1)\n```",
        "```\nprint(1)\n```\n",
        "Here it is:\n\n```py\nprint(1)\n```\nIt prints 1.",
        "```python\nprint(1)",
        "```\nx = 1\n```\nand then\n```\nprint(x)\n```",
        "    x = 1\n    print(x)",
        "\ufeffprint(1)",
        "\ufeff```python\n  print(1)\n```",
        "x\xa0=\xa01\nif x:\n\xa0\xa0print(x)",
    ],
)
def test_what_is_no_python_only_for_its_wrapping_runs_without_it(code: str) -> None:
    assert run(code).text == "1"


def test_a_program_that_is_python_stays_as_it_is() -> None:
    assert run('s = """\n```\n  a\xa0b\n```\n"""\nprint(s)').text == "\n```\n  a\xa0b\n```"
    assert run("  if x\n  y").text.startswith("IndentationError: unexpected indent")


def test_what_is_cut_is_counted_whether_or_not_it_was_kept() -> None:
    def told(code: str, most: int = 4000) -> tuple[str, str]:
        text = anyio.run(python(max_characters=most).call, {"code": code}).text
        shown, _, note = text.rpartition("\n")
        return shown, note

    shown, note = told("for i in range(20000): print('line', i)")
    assert len(shown) == 4000 and note == "[cut: 204890 more characters]"
    shown, note = told("print('x' * 100_000)", 150_000)
    assert len(shown) == 65_536 and note == f"[cut: {100_001 - 65_536} more characters]"
    # Characters, not bytes; none is cut in two.
    shown, note = told("print('\U0001f99c' * 50_000, end='')", 100_000)
    assert set(shown) == {"\U0001f99c"} and note == f"[cut: {50_000 - len(shown)} more characters]"
    assert told("print('\\n' * 70_000, end='')", 10)[1] == "[cut: 69990 more characters]"


@given(st.text(max_size=60), st.integers(0, 40), st.integers(0, 3))
def test_what_is_shown_and_what_is_counted_are_all_there_was(printed: str, limit: int, left_out: int) -> None:
    printed = printed.replace("\r", " ")
    text = text_of(SandboxResult(SandboxStatus.OK, printed, left_out=left_out), limit, 1.0)
    shown, cut, count = text.rpartition("\n[cut: ")
    ends = 0 if left_out else len(printed) - len(printed.rstrip("\n"))
    if cut:
        assert len(shown) + int(count.split()[0]) == len(printed) - ends + left_out
    else:
        assert text == (printed.rstrip("\n") or "no output; use print()")


def test_a_line_of_any_length_is_read_through_once() -> None:
    assert len(text_of(SandboxResult(SandboxStatus.OK, "a" * 10_000_000 + "\r" * 10_000_000 + "b"), 10, 1.0)) == 1


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
