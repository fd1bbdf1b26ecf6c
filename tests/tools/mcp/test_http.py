"""A server behind a URL on loopback: one made with the SDK, and a hand-written one that goes wrong."""

import gc
import gzip
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import anyio
import pytest

from aepo.tools.base import ToolBug
from aepo.tools.mcp import McpServerError
from aepo.tools.mcp.messages import UNREADABLE
from aepo.types import ToolResult, ToolStatus

from .conftest import GOOD, Start, call

NOTHING = {"type": "object", "properties": {}}
UNAVAILABLE = ToolResult("the tool is unavailable now, its server failed; go on without it", ToolStatus.ERROR)


class Faulty(BaseHTTPRequestHandler):
    """Sessions, `echo`, and tools that go wrong; what it saw is kept on the server."""

    TOOLS: ClassVar = [
        "echo",
        "read",
        "flood",
        "compressed",
        "hang_up",
        "overloaded",
        "refuse",
        "forget",
        "stream",
        "flood_stream",
        "half",
        "half_stream",
        "broken",
        "broken_stream",
        "no_result",
    ]

    def do_POST(self) -> None:
        state = self.server.state  # type: ignore[attr-defined]
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        state["headers"].append(dict(self.headers))
        method, number = request["method"], request.get("id")
        session = self.headers.get("mcp-session-id")
        if method == "initialize":
            state["sessions"].append(f"session-{len(state['sessions'])}")
            version = request["params"]["protocolVersion"]
            server = {"name": "faulty", "version": "1"}
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
            self.answer(number, {"mcp-session-id": state["sessions"][-1]}, result=result)
        elif session not in state["sessions"]:
            self.reply(
                404, b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Session not found"}}'
            )
        elif method == "tools/list":
            read_only = {"readOnlyHint": True}
            tools = [
                {"name": n, "inputSchema": NOTHING, "annotations": read_only if n in ("read", "stream") else {}}
                for n in self.TOOLS
            ] + [{"name": "odd", "description": "half \ud83c", "inputSchema": True}]
            self.answer(number, result={"tools": tools})
        elif method == "tools/call":
            self.tool(number, request["params"]["name"], state)
        else:
            self.reply(202, b"")

    def tool(self, number: int, name: str, state: dict[str, Any]) -> None:
        state["calls"].append(name)
        text = {"content": [{"type": "text", "text": name}]}
        if name in ("echo", "read"):
            self.answer(number, result=text)
        elif name == "flood":
            self.answer(number, result={"content": [{"type": "text", "text": "x" * 50_000_000}]})
        elif name == "compressed":
            body = json.dumps({"jsonrpc": "2.0", "id": number, "result": text}).encode()
            self.reply(200, gzip.compress(body), {"content-encoding": "gzip"})
        elif name == "hang_up":
            self.connection.close()
        elif name == "overloaded":
            self.reply(503, b"<html>busy</html>", {"content-type": "text/html"})
        elif name == "refuse":
            error = {"code": -32602, "message": "not like this"}
            self.reply(400, json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode())
        elif name == "forget":
            state["sessions"].clear()
            self.answer(number, result=text)
        elif name == "stream":
            broken = state["calls"].count("stream") == 1
            event = json.dumps({"jsonrpc": "2.0", "id": number, "result": text})
            body = b": begun\n\n" if broken else f"event: message\ndata: {event}\n\n".encode()
            self.reply(200, body, {"content-type": "text/event-stream"})
        elif name in ("half", "half_stream"):
            self.send_one(name, number, json.dumps({"content": [{"type": "text", "text": "cut \ud83c"}]}) + "}")
        elif name in ("broken", "broken_stream"):
            self.send_one(name, number, '{"content": [')
        elif name == "no_result":
            self.answer(number, result=None)
        elif name == "flood_stream":
            self.reply(200, b"event: message\ndata: " + b"x" * 50_000_000, {"content-type": "text/event-stream"})

    def send_one(self, name: str, number: int, result: str) -> None:
        body = f'{{"jsonrpc": "2.0", "id": {number}, "result": {result}'
        if name.endswith("_stream"):
            self.reply(200, f"data:{body}\n\n".encode(), {"content-type": "text/event-stream"})
        else:
            self.reply(200, b"\xef\xbb\xbf" + body.encode())

    def do_GET(self) -> None:
        self.reply(405, b"")

    def do_DELETE(self) -> None:
        self.server.state["deleted"].append(self.headers["mcp-session-id"])  # type: ignore[attr-defined]
        self.reply(200, b"")

    def answer(self, number: int, headers: dict[str, str] | None = None, **content: Any) -> None:
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": number, **content}).encode(), headers or {})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class Site(ThreadingHTTPServer):
    """Serves `Faulty`, on a free port by default."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Faulty)
        self.state: dict[str, Any] = {"sessions": [], "calls": [], "headers": [], "deleted": []}
        self.url = f"http://127.0.0.1:{self.server_port}/mcp?key=in-the-url"


@contextmanager
def served(site: Site) -> Iterator[Site]:
    with site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Site()) as made:
        yield made


def test_a_server_of_the_sdk_answers_64_calls_at_once(start: Start) -> None:
    with subprocess.Popen([sys.executable, str(GOOD), "http"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            tools = start(f"http://127.0.0.1:{int(process.stdout.readline())}/mcp", concurrency=64)
            results: list[ToolResult] = []

            async def main() -> None:
                async def one() -> None:
                    results.append(await tools["meet"].call({"others": 64}))

                async with anyio.create_task_group() as tasks:
                    for _ in range(64):
                        tasks.start_soon(one)

            anyio.run(main)
            assert [result.text for result in results] == ["64"] * 64
            assert call(tools["where"], place={"row": 3}).text == "row 3, 0 tags"
            assert call(tools["add"], a="x").text == 'bad arguments for add: a: "x" is not of type "integer"'
            assert len(call(tools["long"], characters=3000).text) == 3000
            assert call(tools["long"], characters=9_000_000).status is ToolStatus.ERROR
        finally:
            process.kill()


def test_headers_come_from_the_named_variables_only(
    start: Start, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password netrc-secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("MY_TOKEN", "Bearer of-mine")
    tools = start(site.url, headers={"Authorization": "MY_TOKEN"})
    assert call(tools["echo"]).text == "echo"
    assert {seen["authorization"] for seen in map(_lower, site.state["headers"])} == {"Bearer of-mine"}
    start(site.url)
    assert "authorization" not in _lower(site.state["headers"][-1])


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_one_session_serves_all_calls_and_is_given_back(start: Start, site: Site) -> None:
    tools = start(site.url)
    for _ in range(3):
        assert call(tools["echo"]).text == "echo"
    assert len(site.state["sessions"]) == 1
    tools.clear()
    for _ in range(600):
        # The thread that served the last call may be letting go of it still.
        gc.collect()
        if site.state["deleted"]:
            break
        time.sleep(0.05)
    assert site.state["deleted"] == site.state["sessions"]


def test_a_forgotten_session_is_begun_anew_and_the_call_made(start: Start, site: Site) -> None:
    tools = start(site.url)
    for _ in range(3):
        assert call(tools["forget"]).text == "forget"
        assert call(tools["echo"]).text == "echo"
    assert site.state["calls"] == ["forget", "echo"] * 3


@pytest.mark.parametrize("tool", ["hang_up", "overloaded", "compressed"])
def test_a_call_that_the_server_fails_is_told_and_the_next_is_answered(start: Start, site: Site, tool: str) -> None:
    tools = start(site.url)
    for _ in range(2):
        assert call(tools[tool]) == UNAVAILABLE
        assert call(tools["echo"]).text == "echo"
    assert site.state["calls"] == [tool, "echo"] * 2


def test_a_broken_stream_is_asked_again_if_the_tool_only_reads(start: Start, site: Site) -> None:
    tools = start(site.url)
    assert call(tools["stream"]).text == "stream"
    assert site.state["calls"] == ["stream", "stream"] and len(site.state["sessions"]) == 1


def test_an_error_in_the_body_of_a_bad_status_is_the_servers_word(start: Start, site: Site) -> None:
    tools = start(site.url)
    assert call(tools["refuse"]) == ToolResult("not like this", ToolStatus.ERROR)
    assert len(site.state["sessions"]) == 1


@pytest.mark.parametrize("tool", ["flood", "flood_stream"])
def test_a_reply_of_50_mb_is_not_read_to_its_end(start: Start, site: Site, tool: str) -> None:
    tools = start(site.url)
    assert call(tools[tool]) == ToolResult("the reply was longer than 8 MiB; ask for less", ToolStatus.ERROR)
    assert call(tools["echo"]).text == "echo"
    assert len(site.state["sessions"]) == 1


@pytest.mark.parametrize(
    ("tool", "result"),
    [
        ("half", ToolResult("cut \ufffd")),
        ("half_stream", ToolResult("cut \ufffd")),
        ("broken", ToolResult(UNREADABLE, ToolStatus.ERROR)),
        ("broken_stream", ToolResult(UNREADABLE, ToolStatus.ERROR)),
        ("no_result", ToolResult("the tool answered with something that is no result", ToolStatus.ERROR)),
    ],
)
def test_an_odd_reply_is_read_or_told_in_words_at_once(start: Start, site: Site, tool: str, result: ToolResult) -> None:
    tools = start(site.url)
    assert "odd" not in tools and call(tools[tool]) == result
    assert call(tools["echo"]).text == "echo"


class Heard(logging.Handler):
    """Tells that something was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.something = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.something.set()


def test_a_server_that_is_gone_for_a_while_is_waited_for(start: Start) -> None:
    with served(Site()) as site:
        tools = start(site.url, restarts=100)
        assert call(tools["read"]).text == "read"
    heard, results = Heard(), list[ToolResult]()
    thread = threading.Thread(target=lambda: results.append(call(tools["read"])))
    logger = logging.getLogger("aepo.tools.mcp.connection")
    logger.addHandler(heard)
    try:
        thread.start()
        assert heard.something.wait(30)
        with served(Site(site.server_port)):
            thread.join()
    finally:
        logger.removeHandler(heard)
    assert results == [ToolResult("read")]


def test_a_server_that_is_gone_for_good_stops_the_run(start: Start) -> None:
    with served(Site()) as site:
        tools = start(site.url, restarts=1)
        assert call(tools["echo"]).text == "echo"
    assert call(tools["echo"]) == UNAVAILABLE
    with pytest.raises(
        ToolBug, match=r"MCP server 127\.0\.0\.1 died 2 times without answering a call: ConnectError"
    ) as caught:
        call(tools["echo"])
    assert isinstance(caught.value.original, McpServerError) and "in-the-url" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("ftp://example.org", {}, "is no http"),
        ("python server.py", {}, "give a command as a list"),
        ("https://me:secret@example.org/mcp", {}, "the URL of MCP server example.org holds a password"),
        ("https://example.org/mcp", {"headers": {"Authorization": "NOT_SET"}}, "variable NOT_SET, which is not set"),
        ("https://example.org/mcp", {"inherit": ["PATH"]}, "are for commands"),
    ],
)
def test_what_is_no_url_or_has_no_key_is_refused(start: Start, url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        start(url, **options)
