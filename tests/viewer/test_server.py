"""The server: what it answers, to whom, and what it says of broken folders."""

import gzip
import json
import signal
import subprocess
import sys

import httpx
import pytest
from starlette.testclient import TestClient

from aepo.viewer.policy import HostGuard
from aepo.viewer.server import app, listening
from aepo.viewer.source import open_source


@pytest.fixture
def client(example_run):
    return TestClient(app([open_source(example_run)]), base_url="http://127.0.0.1:6880")


def test_the_page_and_its_parts_come_from_here(client):
    assert "<script" in client.get("/").text
    for name in ("page.css", "main.js", "vendor/d3.min.js"):
        assert client.get(f"/static/{name}").status_code == 200
    assert client.get("/static/../page.py").status_code == 404
    assert client.get("/static/..%2f..%2fread.py").status_code == 404


def test_every_answer_forbids_what_the_page_does_not_need(client):
    for address in ("/", "/static/main.js", "/data/view.json", "/nothing"):
        headers = client.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_data_is_told_by_address(client):
    run = client.get("/data/view.json").json()["runs"][0]
    assert [s["key"] for s in run["sections"]] == ["10", "20"]
    listed = client.get("/data/runs/0/sections/20.json").json()
    assert [q["id"] for q in listed] == [f"test-{i}" for i in range(5)]
    assert client.get("/data/runs/0/sections/20/2.json").json()["id"] == "test-2"
    assert len(client.get("/data/runs/0/metrics.json?after=58").json()["rows"]) == 2


@pytest.mark.parametrize("address", ["runs/1/metrics.json", "runs/0/sections/30.json", "runs/0/sections/20/9.json"])
def test_what_is_not_there_is_not_found(client, address):
    answer = client.get(f"/data/{address}")
    assert answer.status_code == 404 and "there is no" in answer.json()["error"]


def test_a_tree_of_another_version_and_a_half_written_one_are_a_line_each(client, example_run, example_lines):
    path = example_run / "trees" / "step-000010.jsonl.gz"
    whole = path.read_bytes()
    example_lines[0]["tree"]["format"] = 99
    with gzip.open(path, "wt") as file:
        file.write(json.dumps(example_lines[0]) + "\n")
    answer = client.get("/data/runs/0/sections/10.json")
    assert answer.status_code == 422
    assert "step-000010.jsonl.gz, line 1: trajectory tree of format 99, this version reads 1" in answer.json()["error"]
    path.write_bytes(whole[: len(whole) // 2])
    told = client.get("/data/runs/0/sections/10.json").json()["error"]
    assert "step-000010.jsonl.gz, line" in told and "\n" not in told
    assert client.get("/data/runs/0/sections/20.json").status_code == 200


@pytest.mark.parametrize("name", ["127.0.0.1:6880", "localhost:6880", "localhost", "[::1]:6880", "127.0.0.7"])
def test_loopback_is_answered(client, name):
    assert client.get("/data/view.json", headers={"host": name}).status_code == 200


@pytest.mark.parametrize(
    "name", ["evil.example:6880", "evil.example", "[::2]:6880", "127.0.0.1.evil.example", "192.168.1.7:6880", ""]
)
def test_another_name_for_this_machine_is_refused(client, name):
    answer = client.get("/data/view.json", headers={"host": name})
    assert answer.status_code == 421 and "step" not in answer.text


def test_elsewhere_addresses_in_digits_and_its_own_name_are_answered():
    guard = HostGuard(None, "0.0.0.0")
    assert guard.knows("192.168.1.7:6880") and guard.knows("localhost:6880") and guard.knows("[fe80::1]:6880")
    assert not guard.knows("evil.example:6880")
    assert HostGuard(None, "lab.example").knows("LAB.example:6880")


def test_a_port_that_is_taken_is_one_line_unless_none_was_asked_for(monkeypatch):
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"cannot listen on 127.0.0.1, port {port}: .*choose another --port"):
            listening("127.0.0.1", port)
        monkeypatch.setattr("aepo.viewer.server.PORT", port)
        with listening("127.0.0.1", None) as other:
            assert other.getsockname()[1] != port


def test_the_command_serves_on_loopback_until_it_is_interrupted(example_run):
    command = [sys.executable, "-m", "aepo.cli", "view", str(example_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            assert httpx.get(f"{address}data/view.json").json()["runs"][0]["name"] == "example"
            server.send_signal(signal.SIGINT)
            _, said = server.communicate(timeout=120)
        finally:
            server.kill()
    assert "Traceback" not in said
