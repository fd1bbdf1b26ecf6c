"""The remote backend against a small server that speaks SandboxFusion's wire format, well and badly."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import anyio
import pytest

from aepo.tools import retry
from aepo.tools.python import python
from aepo.tools.sandbox import remote
from aepo.tools.sandbox.base import SandboxLimits, SandboxStatus
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.remote import RemoteSandbox

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


class Service:
    """Answers the requests one after the other by the given functions; the last one stays."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.asked = list(answers), list[dict[str, Any]]()
        self.url = ""


@contextmanager
def serving(*answers: Answer) -> Iterator[Service]:
    service = Service(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.asked.append({"path": self.path, **body})
            answer = service.answers.pop(0) if len(service.answers) > 1 else service.answers[0]
            answer(self, body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address = True, True

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield service
        server.shutdown()


def reply(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ran(run: dict[str, Any] | None, status: str = "Success", message: str = "") -> Answer:
    whole = {
        "status": status, "message": message, "compile_result": None, "run_result": run,
        "executor_pod_name": None, "files": {},
    }  # fmt: skip
    return reply(200, json.dumps(whole).encode())


def finished(code: int = 0, stdout: str = "", stderr: str = "") -> Answer:
    result = {"status": "Finished", "execution_time": 0.01, "return_code": code, "stdout": stdout, "stderr": stderr}
    return ran(result, "Success" if code == 0 else "Failed")


def reset(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def endless(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 65536)


def never(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    # Until the client has gone: then its end of the connection reads as closed.
    handler.connection.recv(1)


def drip(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    gone = threading.Event()
    while not gone.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


LOST = SandboxStatus.INFRASTRUCTURE_ERROR


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "backoff", lambda attempt, chance: 0.001)


def run(service: Service, code: str = "print(1)", timeout: float = 5, limits: SandboxLimits | None = None) -> Any:
    return anyio.run(RemoteSandbox(service.url, limits).run, code, timeout)


def test_the_request_is_the_wire_format() -> None:
    with serving(finished(0, "1\n")) as service:
        assert run(service, "print('é')", 3).stdout == "1\n"
        assert service.asked == [
            {"path": "/run_code", "code": "print('é')", "language": "python", "run_timeout": 3.0,
             "compile_timeout": 3.0, "memory_limit_MB": 512}
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status", "returncode"),
    [
        (finished(0, "hi\n"), SandboxStatus.OK, 0),
        (finished(1, "", "Traceback\nValueError: x\n"), SandboxStatus.ERROR, 1),
        (finished(1, "", "Traceback\nMemoryError\n"), SandboxStatus.MEMORY_LIMIT, 1),
        (finished(139), SandboxStatus.KILLED, -11),
        (finished(-9), SandboxStatus.KILLED, -9),
        (ran({"status": "TimeLimitExceeded", "stdout": "a"}, "Failed"), SandboxStatus.TIMEOUT, None),
        (finished(0, "x" * (1 << 20)), SandboxStatus.OUTPUT_LIMIT, 0),
    ],
)
def test_how_it_ended_is_told(answer: Answer, status: SandboxStatus, returncode: int | None) -> None:
    with serving(answer) as service:
        result = run(service)
        assert (result.status, result.returncode) == (status, returncode)
        assert len(service.asked) == 1, "what the program did is no reason for another try"


def test_output_is_cut_as_everywhere() -> None:
    with serving(finished(0, "a" * 99 + "é" * 99, "y" * 99 + "end")) as service:
        result = run(service, limits=SandboxLimits(output_kept=10))
        assert (result.stdout, result.stderr) == ("a" * 10, "y" * 7 + "end")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (reply(500, b"oops"), "HTTP 500"),
        (reply(429, b""), "HTTP 429"),
        (reply(200, b'{"status": "Succ'), "not JSON"),
        (reply(200, b"[" * 100_000), "not JSON"),
        (reply(200, b"{}", Content_Length="99"), "RemoteProtocolError"),
        (reset, "ReadError"),
        (ran(None, "SandboxError", "no runner"), "SandboxError: no runner"),
        (ran({"status": "Error", "stderr": "no fork"}, "Failed"), "no fork"),
    ],
)
def test_a_fault_of_the_service_is_tried_again_and_told(fault: Answer, told: str) -> None:
    with serving(fault, fault, finished(0, "fine\n")) as service:
        assert run(service).stdout == "fine\n"
        assert len(service.asked) == 3
    with serving(fault) as service:
        result = run(service)
        assert result.status is LOST and told in result.stderr and service.url in result.stderr
        assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (reply(404, b""), "HTTP 404"),
        (reply(422, b"{}"), "HTTP 422"),
        (reply(302, b"", Location="http://127.0.0.1:1/"), "HTTP 302"),
        (reply(200, b"[]"), "not a JSON object"),
        (reply(200, b"\x1f\x8b", Content_Encoding="gzip"), "compressed"),
        (endless, "more than 16 MiB"),
    ],
)
def test_what_another_try_cannot_mend_is_told_at_once(fault: Answer, told: str) -> None:
    with serving(fault) as service:
        result = run(service)
        assert result.status is LOST and told in result.stderr
        assert len(service.asked) == 1


@pytest.mark.parametrize("fault", [never, drip])
def test_a_reply_that_does_not_come_to_an_end_is_given_up(fault: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_SPARE_SECONDS", 0.2)
    with serving(fault) as service:
        assert run(service, timeout=0.1).status is LOST


def test_half_a_surrogate_pair_is_the_programs_own_error() -> None:
    with serving(finished()) as service:
        result = run(service, "print('\ud800')")
        assert result.status is SandboxStatus.ERROR and service.asked == []


def test_cancelling_ends_the_request() -> None:
    closed = threading.Event()

    def wait(handler: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
        if handler.connection.recv(1) == b"":
            closed.set()

    async def main(url: str) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(RemoteSandbox(url).run, "print(1)", 30)
            while not service.asked:
                await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()

    with serving(wait) as service:
        anyio.run(main, service.url)
        assert closed.wait(10)


def test_the_tool_takes_an_address() -> None:
    with serving(finished(0, "42\n")) as service:
        tool = python(sandbox=service.url)
        assert anyio.run(tool.call, {"code": "6 * 7"}).text == "42"
        assert tool.details == {"sandbox": f"remote {service.url}"}
        assert choose(service.url).name == f"remote {service.url}"


@pytest.mark.parametrize("address", ["http://", "ftp://host", "http://user:hidden@host", "http://[bad"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="sandbox") as caught:
        RemoteSandbox(address)
    assert "hidden" not in str(caught.value)


def test_settings_of_a_proxy_in_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(finished(0, "fine\n")) as service:
        assert run(service).stdout == "fine\n"
