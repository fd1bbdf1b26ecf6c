"""Runs whose policy another process's model samples for: the weights get there, or the run says so."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from aepo import api
from aepo.assembly.policies import load_to_train
from aepo.engines.vllm.control import VllmError
from aepo.engines.vllm.launch import serving
from aepo.engines.vllm.process import RunningServer
from aepo.engines.vllm.sampler import VllmSampler
from aepo.runs.metrics import read_metrics
from aepo.training import loop
from aepo.training.step import update
from tests import tiny
from tests.engines.vllm.conftest import Serve, Settings
from tests.engines.vllm.fake import FakeVllm


def metrics(run: Path, name: str) -> list[float]:
    return [row[name] for row in read_metrics(run / "metrics.jsonl") if name in row]


def versions(run: Path, step: int) -> set[int]:
    """The versions of the weights that drew the turns of a step."""
    with gzip.open(run / "trees" / f"step-{step:06d}.jsonl.gz", "rt") as lines:
        nodes = [node for line in lines for node in json.loads(line)["tree"]["nodes"]]
    return {node["version"] for node in nodes if node["kind"] == "policy"}


def sleeping(server: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run do as if its server shared a GPU."""
    monkeypatch.setattr("aepo.engines.vllm.sampler.sleeps", lambda config, shared: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: server.done.append("given back"))


def test_the_server_has_the_policy_of_each_step(serve: Serve, settings: Settings, tmp_path: Path):
    server = serve()
    run = api.train_task(settings(server), tiny.letters())
    differences = metrics(tmp_path / "run", "weights/difference")
    assert len(differences) == 3 and max(differences) < 1e-5
    assert max(metrics(tmp_path / "run", "logprobs/rollout_difference_max")) < 1e-4
    assert run.policy is not None
    for name, weight in run.policy.model.named_parameters():
        assert torch.equal(weight, server.model.get_parameter(name))


def test_weights_change_while_nothing_is_sampled_and_no_old_keys_stay(serve: Serve, settings: Settings):
    server = serve()
    api.train_task(settings(server), tiny.letters())
    one = [
        "/pause?mode=keep",
        "/start_weight_update",
        "/update_weights",
        "/finish_weight_update",
        "/collective_rpc",
        "/reset_prefix_cache?reset_running_requests=true",
        "/resume",
    ]
    assert server.done == ["/collective_rpc", "/init_weight_transfer_engine", *one, *one, *one]


def test_a_server_that_sleeps_wakes_into_memory_that_the_trainer_gave_back(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    server = serve()
    sleeping(server, monkeypatch)
    api.train_task(settings(server), tiny.letters())
    asleep = server.done.index("/sleep?level=2&mode=wait")
    # vLLM is paused while it sleeps; having memory for its cache again ends that.
    assert server.done[asleep : asleep + 8] == [
        "/sleep?level=2&mode=wait",
        "given back",
        "/wake_up?tags=weights",
        "/start_weight_update",
        "/update_weights",
        "/finish_weight_update",
        "/collective_rpc",
        "/reset_prefix_cache?reset_running_requests=true",
    ]
    assert server.done[asleep + 8] == "/wake_up?tags=kv_cache"
    assert max(metrics(tmp_path / "run", "weights/difference")) < 1e-5


def test_a_server_that_sleeps_keeps_the_base_of_adapters(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    pytest.importorskip("peft")
    server = serve(lora_rank=8)
    sleeping(server, monkeypatch)
    api.train_task(settings(server, "model.lora.rank=4"), tiny.letters())
    load, unload, sleep = "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep?level=1&mode=wait"
    step = [sleep, "given back", "/wake_up?tags=weights", load, unload, "/wake_up?tags=kv_cache"]
    assert server.done == ["/collective_rpc", load, *step, *step]
    assert max(metrics(tmp_path / "run", "weights/difference")) < 1e-5


def test_each_turn_says_which_weights_drew_it(serve: Serve, settings: Settings, tmp_path: Path):
    api.train_task(settings(serve()), tiny.letters())
    for step in (1, 2):
        assert versions(tmp_path / "run", step) == {step - 1}


def test_an_adapter_has_a_name_of_its_own_for_each_version(serve: Serve, settings: Settings, tmp_path: Path):
    pytest.importorskip("peft")
    server = serve(lora_rank=8)
    api.train_task(settings(server, "model.lora.rank=4"), tiny.letters())
    load, unload = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
    assert server.done == ["/collective_rpc", load, load, unload, load, unload]
    # Their names are the run's own, because a server of the user's may still have those of another run.
    (last,) = server.adapters
    assert last.startswith("aepo-vllm-") and last.endswith("-2")
    assert max(metrics(tmp_path / "run", "weights/difference")) < 1e-5


@pytest.mark.parametrize("fault", [{"forgets": "layers.1.mlp.up_proj"}, {"keeps": True}], ids=["a tensor", "all"])
def test_a_server_that_keeps_old_weights_and_says_200_is_found_out(
    serve: Serve, settings: Settings, tmp_path: Path, fault: dict[str, object]
):
    with pytest.raises(VllmError, match="does not have the policy's weights"):
        api.train_task(settings(serve(**fault)), tiny.letters())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"refuses": "/update_weights"}, r"/update_weights \(HTTP 500\): the worker failed"),
        ({"refuses": "/reset_prefix_cache"}, r"/reset_prefix_cache.* \(HTTP 500\): the worker failed"),
        ({"holds": True}, "vLLM did not reset its prefix cache, which has keys and values of the old weights"),
    ],
)
def test_a_hand_over_that_fails_ends_the_run_after_a_whole_step(
    serve: Serve, settings: Settings, tmp_path: Path, fault: dict[str, Any], told: str
):
    server = serve()
    task = tiny.letters()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny, "on_call", lambda: vars(server).update(fault))
        with pytest.raises(VllmError, match=told) as failure:
            api.train_task(settings(server, "evaluation.questions=1"), task)
    # The weights of step 0 had arrived, and those of step 1 are in a checkpoint.
    assert any("go on with" in note for note in failure.value.__notes__)
    assert (tmp_path / "run" / "checkpoints" / "step-000001").is_dir()
    # No request may be answered with what is left in the cache.
    assert server.done[-1] != "/resume"
    server.refuses, server.holds = "", False
    api.train_task(settings(server), task, resume=True)
    assert metrics(tmp_path / "run", "train/learning_rate")[1:]


def test_a_server_that_died_is_started_again_once(serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    config = settings(serve())
    monkeypatch.setattr(RunningServer, "restart", lambda self: True)
    with serving(config, tiny.letters(), lambda config, prompt: None) as served:
        sampler = VllmSampler(served, load_to_train(config))
        sampler.push(0)
        # The new server has no weights before the next hand-over.
        assert sampler.revive() and sampler.version == -1
        sampler.push(0)
        assert not sampler.revive()


def test_the_next_rollout_goes_on_while_the_trainer_works(
    serve: Serve, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server, updates = serve(), []

    def waiting(*args: Any, **named: Any) -> Any:
        """Updates only once the rollout of the next step has drawn tokens; the last step has no next one."""
        updates.append(len(server.requests()))
        if len(updates) < 4:
            end = time.monotonic() + 60
            while len(server.requests()) < updates[-1] + 3 and time.monotonic() < end:
                time.sleep(0.01)
            assert len(server.requests()) >= updates[-1] + 3
        return update(*args, **named)

    monkeypatch.setattr(loop, "update", waiting)
    api.train_task(settings(server, "rollout.overlap=1", "train.steps=4"), tiny.letters())
    run = tmp_path / "run"
    assert max(metrics(run, "weights/difference")) < 1e-5
    # One of the two questions of each step but the first began before the update of the step before.
    assert metrics(run, "overlap/stale_share") == [0.0, 0.5, 0.5, 0.5]
    assert metrics(run, "overlap/left_groups") == [0.0] * 4
    assert versions(run, 1) == {0}
    for step in range(2, 5):
        assert versions(run, step) <= {step - 2, step - 1}


def test_a_resumed_run_asks_the_questions_that_had_begun_anew(serve: Serve, settings: Settings, tmp_path: Path):
    server = serve()
    api.train_task(settings(server, "rollout.overlap=1", "train.steps=2"), tiny.letters())
    whole = settings(server, "rollout.overlap=1", "train.steps=3")
    api.train_task(whole, tiny.letters(), resume=True)
    assert len(metrics(tmp_path / "run", "train/learning_rate")) == 3
