"""The example that uses a served model without this package, against a server on loopback that plays vLLM."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / "examples" / "05_use_a_served_model.py"


@pytest.fixture
def example() -> Any:
    spec = importlib.util.spec_from_file_location("served_example", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server(ThreadingHTTPServer):
    """Answers with the given messages in turn, and keeps what was asked."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages, self.asked = messages, []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        assert self.path == "/v1/chat/completions"
        message = self.server.messages[len(self.server.asked) - 1]
        told = json.dumps({"choices": [{"message": {"role": "assistant", "content": None, **message}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def serve() -> Iterator[Any]:
    servers: list[Server] = []

    def started(*messages: dict[str, Any]) -> Server:
        servers.append(Server(list(messages)))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return servers[-1]

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def call(name: str, arguments: str, number: int = 1) -> dict[str, Any]:
    return {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_calls_are_run_and_their_results_go_back_until_there_is_an_answer(example: Any, serve: Any) -> None:
    two = [call("lookup", '{"word": "probe"}'), call("lookup", '{"word": "leaf"}', 2)]
    server = serve({"tool_calls": two}, {"content": "It is a first try."})
    assert example.answer("What is a probe?", server.url) == "It is a first try."
    first, second = server.asked
    assert first["tools"][0]["function"]["name"] == "lookup"
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [message["content"] for message in second["messages"][2:]] == ["a first try", "not found"]
    assert [message["tool_call_id"] for message in second["messages"][2:]] == ["call-1", "call-2"]


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [("search", "{}", "KeyError"), ("lookup", '{"w": 1}', "TypeError"), ("lookup", "{", "JSONDecodeError")],
)
def test_a_wrong_call_is_told_to_the_model(example: Any, serve: Any, name: str, arguments: str, told: str) -> None:
    server = serve({"tool_calls": [call(name, arguments)]}, {"content": "sorry"})
    assert example.answer("?", server.url) == "sorry"
    assert told in server.asked[1]["messages"][-1]["content"]


def test_a_model_that_never_answers_is_given_up(example: Any, serve: Any) -> None:
    server = serve(*[{"tool_calls": [call("lookup", '{"word": "x"}')]}] * 3)
    assert example.answer("?", server.url, turns=3) is None


def test_the_example_does_not_need_the_package() -> None:
    assert "import aepo" not in FILE.read_text() and "from aepo" not in FILE.read_text()
