"""A server that is a child process: what the model is told, and what is left when things go wrong."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import anyio
import pytest

from aepo.tools.base import ToolBug
from aepo.tools.mcp import McpServerError, mcp_tools
from aepo.types import ToolResult, ToolStatus

from .conftest import FAULTY, GOOD, Start, call, ends, pids


def test_names_descriptions_and_schemas_are_the_servers_own(faulty: Start) -> None:
    tools = faulty()
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    assert tools["echo"].parameters == schema
    assert tools["echo"].description == "Does echo."
    assert tools["die"].parameters == {"type": "object", "properties": {}}
    assert tools["any"].parameters == {"type": "object", "properties": {"thing": {}}}
    assert call(tools["echo"], text="words").text == "words"


@pytest.mark.parametrize(
    ("tool", "text", "status"),
    [
        ("picture", "a cat\n[image omitted]\n[link: file:///notes]\nheld", ToolStatus.OK),
        ("figures", '[image omitted]\n{"é": 1}', ToolStatus.OK),
        ("babble", "done babbling", ToolStatus.OK),
        ("fail", "it went wrong", ToolStatus.ERROR),
        ("refuse", "not with these arguments", ToolStatus.ERROR),
        ("spread", "over lines", ToolStatus.OK),
        ("half", "cut \ufffd", ToolStatus.OK),
        ("ask", '{"code": -32601, "message": "sampling/createMessage is not offered here"}', ToolStatus.OK),
        ("broken", "the server's reply cannot be read; ask in another way, or go on without it", ToolStatus.ERROR),
        ("odd", "the tool answered with something that is no result", ToolStatus.ERROR),
    ],
)
def test_each_kind_of_answer_is_told_in_words(faulty: Start, tool: str, text: str, status: ToolStatus) -> None:
    tools = faulty()
    assert call(tools[tool]) == ToolResult(text, status)
    assert call(tools["echo"], text="next").text == "next"


REFUSED = {
    "no_schema": "its inputSchema is no object",
    "any_of": 'its arguments have the type None, not "object"',
    "true": "its inputSchema is no object",
    "bad_type": "its arguments have no valid JSON schema",
    "twice": "two tools have this name",
    "a name": "a model cannot write the name 'a name'",
    "x" * 80: "a model cannot write the name",
    "entry 28": "has no name",
    "entry 29": "is no object",
    "entry 30": "is no object",
}


def test_a_malformed_tool_is_left_out_with_a_line_and_costs_no_other(
    faulty: Start, caplog: pytest.LogCaptureFixture
) -> None:
    good = set(faulty())
    with caplog.at_level("WARNING"):
        tools = faulty("odd tools")
    assert set(tools) == good | {"hints", "halved"} and tools["halved"].description == "half \ufffd"
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(REFUSED) and not any("\n" in line for line in lines)
    for name, why in REFUSED.items():
        assert any(line.startswith(f"MCP server faulty: tool '{name}': {why}") for line in lines)


def test_with_names_others_do_not_matter_and_a_malformed_one_is_an_error(
    faulty: Start, caplog: pytest.LogCaptureFixture
) -> None:
    tools = faulty("odd tools", names={"echo": "say", "a name": "named"})
    assert call(tools["say"], text="x").text == "x" and "named" in tools and caplog.records == []
    with pytest.raises(
        McpServerError, match=r"tool 'any_of': its arguments have the type None.*; leave it out of names="
    ):
        faulty("odd tools", names=["echo", "any_of"])


def test_arguments_that_do_not_fit_never_reach_the_server(faulty: Start) -> None:
    # This server dies of an argument that its schema forbids.
    tools = faulty()
    result = call(tools["echo"], wrong=1)
    assert result == ToolResult('bad arguments for echo: "text" is a required property', ToolStatus.BAD_ARGUMENTS)
    assert call(tools["echo"], text="half \ud800 a pair").text == "half ? a pair"


def test_the_server_sees_no_variable_that_was_not_named(faulty: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAID_API_KEY", "secret")
    monkeypatch.setenv("NAMED", "from here")
    monkeypatch.setenv("LANG", "C.UTF-8")
    tools = faulty(environment={"MODE": "test"}, inherit=["NAMED"])
    seen = json.loads(call(tools["variables"]).text)
    here = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    seen.pop("LC_CTYPE", None)  # Python's own doing
    assert seen == here | {"MODE": "test", "NAMED": "from here"}


def test_a_variable_that_is_not_set_is_an_error_before_anything_starts(faulty: Start, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the environment variable NOT_SET, which is not set"):
        faulty(inherit=["NOT_SET"])
    assert pids(tmp_path) == []


def test_a_silent_tool_times_out_and_the_next_call_is_answered(faulty: Start) -> None:
    tools = faulty(timeout=0.3)
    for tool in ("be_silent", "mistake"):
        assert call(tools[tool]) == ToolResult(f"{tool} did not answer within 0.3 s", ToolStatus.TIMEOUT)
    tools = faulty(timeout=30)
    assert call(tools["echo"], text="next").text == "next"


def test_a_cancelled_call_leaves_the_session_as_it_was(faulty: Start, tmp_path: Path) -> None:
    tools = faulty()

    async def main() -> str:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(tools["be_silent"].call, {})
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        return (await tools["echo"].call({"text": "next"})).text

    assert anyio.run(main) == "next"
    assert len(pids(tmp_path)) == 1


def test_a_reply_of_50_mb_is_refused_and_not_kept(faulty: Start) -> None:
    tools = faulty()
    call(tools["echo"], text="warm")
    tracemalloc.start()
    try:
        result = call(tools["flood"])
        gc.collect()
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result == ToolResult("the reply was longer than 8 MiB; ask for less", ToolStatus.ERROR)
    assert most < 30 << 20 and kept < 2 << 20
    assert call(tools["echo"], text="next").text == "next"


def test_a_call_at_the_servers_death_fails_and_the_next_one_finds_it_alive(faulty: Start, tmp_path: Path) -> None:
    tools = faulty()
    unavailable = "the tool is unavailable now, its server failed; go on without it"
    for _ in range(3):
        assert call(tools["die"]) == ToolResult(unavailable, ToolStatus.ERROR)
        assert call(tools["echo"], text="again").text == "again"
    lives = pids(tmp_path)
    assert len(lives) == 4 and all(ends(pid) for pid in lives[:3])


def test_a_read_only_call_is_repeated_after_the_death_and_others_are_not(faulty: Start, tmp_path: Path) -> None:
    tools = faulty()
    assert call(tools["read_then_die"]).text == "read in life 2"
    assert call(tools["die"]).status is ToolStatus.ERROR
    assert call(tools["echo"], text="x").text == "x"
    assert len(pids(tmp_path)) == 3


def test_all_calls_in_flight_end_with_the_server(faulty: Start) -> None:
    tools = faulty(concurrency=16)
    results: list[ToolResult] = []

    async def main() -> None:
        async def one(tool: str) -> None:
            results.append(await tools[tool].call({}))

        async with anyio.create_task_group() as tasks:
            for _ in range(16):
                tasks.start_soon(one, "be_silent")
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(one, "die")

    anyio.run(main)
    assert len(results) == 17 and {result.status for result in results} == {ToolStatus.ERROR}


def test_a_server_that_keeps_dying_stops_the_run_with_its_last_words(faulty: Start, tmp_path: Path) -> None:
    tools = faulty("dies again", restarts=2)
    assert call(tools["echo"], text="a").text == "a"
    with pytest.raises(ToolBug) as caught:
        call(tools["read_then_die"])
    assert str(caught.value.original) == (
        "MCP server faulty died 3 times without answering a call: it last said: one line | the last line"
    )
    assert isinstance(caught.value.original, McpServerError)
    with pytest.raises(ToolBug, match="died 3 times"):
        call(tools["echo"], text="a")
    assert len(pids(tmp_path)) == 3


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no licence')"], "did not start: it last said: no licence"),
        (
            ["/nowhere/server"],
            "server did not start: it last said: cannot run /nowhere/server: No such file or directory",
        ),
        (
            [sys.executable, "-c", "import sys; print('hello', flush=True); sys.stdin.read()"],
            "did not start: Request 'initialize' timed out",
        ),
        (
            [sys.executable, "-c", 'input(); print(\'{"jsonrpc": "2.0", "id": 1, "result": {\'); input()'],
            "did not start: it answered with something that cannot be read",
        ),
    ],
)
def test_a_server_that_does_not_start_is_an_error_at_once(start: Start, command: list[str], said: str) -> None:
    with pytest.raises(McpServerError, match=said):
        start(command, start_timeout=0.5 if "read()" in command[-1] else 60)


def test_tools_that_change_while_in_use_stop_the_run(faulty: Start) -> None:
    tools = faulty()
    call(tools["change"])
    for _ in range(100):  # the notice of the change may still be on its way
        try:
            call(tools["babble"])
        except ToolBug as bug:
            assert str(bug.original) == "MCP server faulty changed while it was in use: echo; start the run again"
            break
    else:
        pytest.fail("nobody noticed")


def test_a_change_of_tools_that_were_not_taken_does_not_matter(faulty: Start) -> None:
    tools = faulty(names=["change", "babble"])
    assert list(tools) == ["change", "babble"]
    call(tools["change"])
    assert call(tools["babble"]).text == "done babbling"


def test_other_arguments_in_the_servers_next_life_stop_the_run(faulty: Start) -> None:
    tools = faulty("changes")
    call(tools["die"])
    with pytest.raises(ToolBug, match="changed while it was in use: echo"):
        call(tools["echo"], text="a")


def test_one_process_serves_all_event_loops_also_at_the_same_time(faulty: Start, tmp_path: Path) -> None:
    tools = faulty()
    results: list[str] = []

    def several() -> None:
        results.extend(call(tools["echo"], text="a").text for _ in range(5))

    threads = [threading.Thread(target=several) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["a"] * 20
    assert len(pids(tmp_path)) == 1


def test_64_calls_run_at_once(start: Start) -> None:
    tools = start([sys.executable, str(GOOD)], concurrency=64)
    results: list[ToolResult] = []

    async def main() -> None:
        async def one() -> None:
            results.append(await tools["meet"].call({"others": 64}))

        async with anyio.create_task_group() as tasks:
            for _ in range(64):
                tasks.start_soon(one)

    anyio.run(main)
    assert [result.text for result in results] == ["64"] * 64


def test_a_server_of_the_sdk_gets_nested_arguments(start: Start) -> None:
    tools = start([sys.executable, str(GOOD)])
    assert call(tools["add"], a=2).text == "3"
    assert call(tools["where"], place={"row": 3, "tags": ["x"]}).text == "row 3, 1 tags"
    assert call(tools["where"], place={"row": "high"}).text == (
        'bad arguments for where: place.row: "high" is not of type "integer"'
    )
    assert call(tools["broken"]).text == "Error executing tool broken"
    assert call(tools["long"], characters=5000).text.endswith("\n[cut: 1000 more characters]")


def test_a_server_ends_with_its_last_tool_whatever_it_started(faulty: Start, tmp_path: Path) -> None:
    tools = faulty("stays", "child")
    left = pids(tmp_path)
    assert len(left) == 2
    tools.clear()
    gc.collect()
    assert all(ends(pid) for pid in left)


HOST = """
import sys, anyio
from aepo.tools.mcp import mcp_tools
tools = {tool.name: tool for tool in mcp_tools(sys.argv[1:])}
print(anyio.run(tools["echo"].call, {"text": "up"}).text, flush=True)
if sys.stdin.readline():
    anyio.run(tools["be_silent"].call, {})
"""


@pytest.mark.parametrize("end", ["exit", "kill", "kill in a call"])
@pytest.mark.parametrize("wrong", [[], ["stays", "child"]])
def test_no_process_outlives_the_host(tmp_path: Path, end: str, wrong: list[str]) -> None:
    command = [sys.executable, "-c", HOST, sys.executable, str(FAULTY), str(tmp_path), *wrong]
    host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert host.stdin and host.stdout
    with host:
        assert host.stdout.readline() == "up\n"
        if end == "exit":
            host.stdin.close()
        else:
            if end == "kill in a call":
                host.stdin.write("go\n")
                host.stdin.flush()
            host.send_signal(signal.SIGKILL)
        host.wait()
    left = pids(tmp_path)
    assert len(left) == 1 + len(wrong) // 2
    assert all(ends(pid) for pid in left)
    if end == "exit":
        assert host.returncode == 0


def test_a_forked_process_is_told_to_make_tools_of_its_own(faulty: Start) -> None:
    tools = faulty()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            call(tools["echo"], text="a")
        except ToolBug as bug:
            os.write(write, str(bug.original).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as said:
        assert said.read().startswith(b"MCP server faulty was started before this process was forked")
    assert call(tools["echo"], text="a").text == "a"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"names": ["ech"]}, "MCP server faulty has no tool 'ech'; it has: echo, die"),
        ({"names": []}, "MCP server faulty has no tools"),
        ({"prefix": "my files/"}, "a model cannot write the name 'my files/echo'"),
        ({"headers": {"Authorization": "KEY"}}, "headers= are for URLs"),
        ({"timeout": 0}, "timeout is 0, must be positive"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_left(
    faulty: Start, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises((ValueError, McpServerError), match=said) as caught:
        faulty(**options)
    assert "\n" not in str(caught.value)
    assert all(ends(pid) for pid in pids(tmp_path))


def test_tools_of_two_servers_are_kept_apart_by_a_prefix_or_other_names(faulty: Start) -> None:
    assert list(faulty(prefix="my_", names=["echo", "die"])) == ["my_echo", "my_die"]
    renamed = faulty(names={"echo": "repeat"})
    assert call(renamed["repeat"], text="a").text == "a"


def test_an_empty_command_is_refused() -> None:
    with pytest.raises(ValueError, match="the command of an MCP server is empty"):
        mcp_tools([])
