"""What breaks on a cluster: a tool's service is down, tools hang, a rollout server dies, a tool has a bug."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran, train
from tests.engines.verl.test_run import CONFIG, K, trained

DOWN_FOR = 4
"""Requests that the service refuses before it is up."""


class Service(http.server.BaseHTTPRequestHandler):
    """A retrieval server."""

    asked: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = 503 if len(self.asked) < DOWN_FOR else 200
        self.asked.append(status)
        body = json.dumps({"result": [[{"document": {"contents": '"Lima"\ncapital of Peru'}, "score": 1.0}]]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/retrieve"
    server.shutdown()


def config(service: str) -> dict[str, Any]:
    options = {"service": service, "hang_every": 5}
    steps = {**CONFIG["train"], "steps": 3, "checkpoint_every": 5}
    evaluation = {"questions": 1, "samples": 2, "greedy": False}
    task = {"name": "faulty_task:faulty", "options": options}
    return {**CONFIG, "task": task, "train": steps, "evaluation": evaluation}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, service: str) -> Ran:
    """The server of rank 1 dies at its second request of step 2."""
    return train(tmp_path_factory.mktemp("verl") / "run", config(service), AEPO_TEST_DIE="1 2 2")


def test_a_service_that_is_down_and_calls_that_hang_cost_neither_the_step_nor_a_leaf(broken: Ran):
    statuses: Counter[str] = Counter()
    for step in (1, 2):
        for group in trees(broken.folder, step):
            assert len(group.tree.leaves) == K
            statuses.update(result.status for node in group.tree.nodes for result in node.results)
    assert Service.asked[:DOWN_FOR] == [503] * DOWN_FOR
    assert statuses["timeout"] > 0
    assert statuses["ok"] > 0


def test_a_server_that_dies_in_a_step_stops_the_run_after_it_with_its_cause_and_a_checkpoint(broken: Ran):
    assert broken.code == 1
    last = broken.output.strip().splitlines()[-1]
    assert last.startswith("aepo: a rollout server died in step 2")
    assert f"go on with: aepo train --resume {broken.folder}" in last
    # The other server grew what was left of the step.
    assert sorted(trained(broken.folder)) == [1, 2]
    assert (broken.folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == "2"


def test_the_run_goes_on_from_there(broken: Ran):
    resumed = train(broken.folder, {}, "--resume", str(broken.folder))
    assert resumed.code == 0, resumed.output[-5000:]
    assert sorted(trained(broken.folder))[-1] == 3
    path = Path(broken.folder) / "checkpoints" / "global_step_3" / "aepo.json"
    assert json.loads(path.read_text())["exploration"]["steps"] == 3


@pytest.mark.slow
def test_a_bug_in_a_tool_stops_the_run_with_its_trajectory_and_a_checkpoint_after_the_last_whole_step(
    tmp_path_factory: pytest.TempPathFactory,
):
    # A step makes at most 64 calls.
    task = {"name": "faulty_task:buggy", "options": {"after": 80}}
    steps = {**CONFIG["train"], "steps": 30, "checkpoint_every": 50}
    done = train(tmp_path_factory.mktemp("verl") / "run", {**CONFIG, "task": task, "train": steps})
    assert done.code == 1
    last = done.output.strip().splitlines()[-1]
    assert "KeyError" in last and "search" in last
    whole = max(trained(done.folder))
    assert f"stopped after step {whole}; go on with: aepo train --resume {done.folder}" in last
    assert (done.folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == str(whole)
    [kept] = (done.folder / "failures").iterdir()
    assert "no such table" in json.loads(kept.read_text())["error"]


@pytest.mark.slow
def test_a_tool_that_ends_its_process_stops_the_run_with_a_checkpoint(tmp_path_factory: pytest.TempPathFactory):
    task = {"name": "faulty_task:buggy", "options": {"after": 80, "fatal": True}}
    steps = {**CONFIG["train"], "steps": 30, "checkpoint_every": 50}
    done = train(tmp_path_factory.mktemp("verl") / "run", {**CONFIG, "task": task, "train": steps})
    assert done.code == 1
    last = done.output.strip().splitlines()[-1]
    assert "a process in which tools run has died in step" in last
    whole = max(trained(done.folder))
    assert f"go on with: aepo train --resume {done.folder}" in last
    assert (done.folder / "checkpoints" / "latest_checkpointed_iteration.txt").read_text() == str(whole)
