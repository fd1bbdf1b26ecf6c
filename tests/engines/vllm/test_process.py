"""A server's process: it is waited for, its last words are told, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aepo.engines.vllm.command import free_port
from aepo.engines.vllm.control import VllmError
from aepo.engines.vllm.process import VllmServer

HEALTHY = """
import http.server, os, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def started(tmp_path: Path, program: str) -> VllmServer:
    port = free_port()
    return VllmServer([sys.executable, "-c", program, str(port)], {}, port, tmp_path / "vllm.log")


def child(server: VllmServer) -> int:
    return int(server.log.read_text().split()[1])


def gone(number: int) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_server_is_waited_for_and_ends_with_all_its_processes(tmp_path: Path):
    server = started(tmp_path, HEALTHY)
    try:
        server.wait(60)
        assert (server.folder / "aepo_vllm_worker.py").is_file()
        number = child(server)
        server.move_log(tmp_path / "elsewhere.log")
    finally:
        server.close()
    assert gone(number) and not server.folder.exists()
    assert (tmp_path / "elsewhere.log").read_text().startswith("child")


def test_a_killed_server_is_started_again(tmp_path: Path):
    server = started(tmp_path, HEALTHY)
    try:
        server.wait(60)
        assert not server.ended()
        os.killpg(os.getpgid(child(server)), signal.SIGKILL)
        assert server.ended()
        server.restart()
        server.wait(60)
        assert server.folder.is_dir()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise ImportError('no module named vllm')", "does not start: ImportError: no module named vllm"),
        ("raise RuntimeError('CUDA out of memory. Tried 2 GiB')", "lower one of vllm.gpu_memory_utilization, roll"),
        ("print('one'); print('two')", "does not start: two"),
    ],
)
def test_a_server_that_ends_tells_why(tmp_path: Path, program: str, told: str):
    server = started(tmp_path, program)
    try:
        with pytest.raises(VllmError, match=told):
            server.wait(60)
    finally:
        server.close()


def test_a_server_that_takes_too_long(tmp_path: Path):
    server = started(tmp_path, "import time; time.sleep(600)")
    try:
        with pytest.raises(VllmError, match=r"raise vllm\.start_timeout"):
            server.wait(0.2)
    finally:
        server.close()


def test_a_killed_trainer_leaves_no_server(tmp_path: Path):
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.engines.vllm.test_process import HEALTHY, started\n"
        f"server = started(Path({str(tmp_path)!r}), HEALTHY)\n"
        "server.wait(60)\n"
        "print(server.folder, flush=True)\n"
        "time.sleep(600)\n"
    )
    trainer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert trainer.stdout is not None
        folder = Path(trainer.stdout.readline().strip())
        number = int((tmp_path / "vllm.log").read_text().split()[1])
    finally:
        trainer.kill()
        trainer.wait()
    assert gone(number)
    end = time.monotonic() + 20
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not folder.exists()
