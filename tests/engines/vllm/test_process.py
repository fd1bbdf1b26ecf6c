"""A server's process: it is waited for, its last words are told, and nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from aepo.engines.vllm.control import VllmError
from aepo.engines.vllm.process import StartedServer, _segments

HEALTHY = """
import http.server, os, socketserver, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""


def started(tmp_path: Path, program: str) -> StartedServer:
    return StartedServer(
        lambda folder: ([sys.executable, "-c", program, str(folder / "socket")], {"AEPO_VLLM_FOLDER": str(folder)}),
        tmp_path / "vllm.log",
    )


def child(server: StartedServer) -> int:
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
        assert not server.restart()
        os.killpg(os.getpgid(child(server)), signal.SIGKILL)
        assert server.restart()
        server.wait(60)
        assert server.folder.is_dir()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("raise ImportError('no module named vllm')", "does not start: ImportError: no module named vllm"),
        ("print('one'); print('two')", "does not start: two"),
        ("import os; os.kill(os.getpid(), 9)", "does not start: killed by signal 9; it printed nothing"),
    ],
)
def test_a_server_that_ends_tells_why(tmp_path: Path, program: str, told: str):
    server = started(tmp_path, program)
    try:
        with pytest.raises(VllmError, match=told):
            server.wait(60)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("said", "change"),
    [
        (
            "Free memory on device cuda:0 (9.1/23.6 GiB) on startup is less than desired GPU memory utilization (0.9",
            "(lower vllm.gpu_memory_utilization)",
        ),
        (
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            "(raise vllm.gpu_memory_utilization)",
        ),
        (
            "To serve at least one request with the model's max seq len (65536), (9.00 GiB KV cache is needed, which "
            "is larger than the available KV cache memory (1.00 GiB). Try increasing",
            "(lower rollout.max_tokens, or raise vllm.gpu_memory_utilization)",
        ),
        (
            "CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering",
            "(lower rollout.max_sequences or vllm.gpu_memory_utilization)",
        ),
    ],
)
def test_a_server_that_is_short_of_memory_says_which_setting_to_change(tmp_path: Path, said: str, change: str):
    """The texts are vLLM 0.32's."""
    server = started(tmp_path, f"raise RuntimeError({said!r})")
    try:
        with pytest.raises(VllmError, match=re.escape(change)):
            server.wait(60)
    finally:
        server.close()


def test_a_server_that_listens_no_more_is_ended(tmp_path: Path):
    """VLLM whose engine has died waits for its connections to close, and these wait for replies."""
    # Nobody refers to the socket after the one request, so it is closed.
    server = started(tmp_path, HEALTHY.replace("serve_forever()", "handle_request(); import time; time.sleep(600)"))
    try:
        server.wait(60)
        assert gone(child(server))
    finally:
        server.close()


def test_two_servers_do_not_meet(tmp_path: Path):
    servers = [started(folder, HEALTHY) for folder in (tmp_path / "one", tmp_path / "other") if not folder.mkdir()]
    try:
        for server in servers:
            server.wait(60)
        servers[0].close()
        assert not servers[0].control.alive() and servers[1].control.alive()
    finally:
        for server in servers:
            server.close()


def test_a_server_that_takes_too_long(tmp_path: Path):
    server = started(tmp_path, "import time; time.sleep(600)")
    try:
        with pytest.raises(VllmError, match=r"raise vllm\.start_timeout"):
            server.wait(0.2)
    finally:
        server.close()


def trainer(tmp_path: Path, begin: str) -> tuple[subprocess.Popen[str], Path]:
    """A process with a folder that goes with it, and the folder."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from aepo.engines.vllm.process import RunningServer\n"
        "from tests.engines.vllm.test_process import HEALTHY, started\n"
        f"tmp_path = Path({str(tmp_path)!r})\n"
        f"{begin}\n"
        "print(folder, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def removed(folder: Path) -> bool:
    end = time.monotonic() + 20
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not folder.exists()


SERVER = "server = started(tmp_path, HEALTHY); server.wait(60); folder = server.folder"
FOLDER = "server = RunningServer('http://127.0.0.1:1'); folder = server.folder"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("begin", [SERVER, FOLDER], ids=["a server", "a folder beside a server of the user's"])
def test_a_trainer_that_ends_leaves_nothing(tmp_path: Path, begin: str, number: signal.Signals):
    process, folder = trainer(tmp_path, begin)
    try:
        assert folder.is_dir()
        process.send_signal(number)
        assert process.wait(20) != 0
        assert removed(folder)
        if begin == SERVER:
            assert gone(int((tmp_path / "vllm.log").read_text().split()[1]))
    finally:
        process.kill()
        process.wait()


HOLDS = """
import mmap, os, sys, time
with open(sys.argv[1], "wb+") as file:
    file.truncate(4096)
    held = mmap.mmap(file.fileno(), 4096)
print("held", flush=True)
time.sleep(60)
"""


def test_shared_memory_of_a_session_is_found_and_that_of_others_is_not():
    mine, other = (Path("/dev/shm") / f"psm_{uuid.uuid4().hex[:8]}" for _ in range(2))
    begun = [
        subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, start_new_session=True)
        for path in (mine, other)
    ]
    try:
        for process in begun:
            assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert _segments(begun[0].pid) == {mine}
    finally:
        for process, path in zip(begun, (mine, other), strict=True):
            process.kill()
            process.communicate()
            path.unlink()
