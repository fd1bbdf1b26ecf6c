"""What is refused before anything is loaded, and what a server is started with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepo.config import Config, ConfigError, load
from aepo.engines.vllm.command import DECIDED, serve_command
from aepo.engines.vllm.needs import Devices, ServerNeeds
from aepo.engines.vllm.refused import refuse

HERE = ServerNeeds("model", "model", "float32", 128, Devices(None))
SHARED = ServerNeeds("model", "model", "bfloat16", 128, Devices(0, ("0",), (0,)))
ALONE = ServerNeeds("model", "model", "bfloat16", 128, Devices(0, ("1",), (1,)))
FOLDER = Path("/dev/shm/aepo-vllm-one")


def config(*overrides: str) -> Config:
    return load(None, ["engine=vllm", *overrides])


@pytest.mark.parametrize(
    ("overrides", "served", "told"),
    [
        (["rollout.deterministic=true"], HERE, "cannot be promised by vLLM"),
        (["vllm.enable_sleep_mode=true"], HERE, "vLLM cannot sleep on a CPU"),
        (["vllm.enable_sleep_mode=true", "rollout.overlap=2"], HERE, "a server cannot sleep while it samples"),
        (["rollout.overlap=2"], SHARED, "needs a GPU for vLLM alone"),
        (["vllm.url=http://example.org:8000/v1"], HERE, "let it listen on 127.0.0.1"),
        (["vllm.weight_transfer=ipc"], HERE, "ipc lends the trainer's GPU memory"),
        (["vllm.weight_transfer=ipc"], ALONE, "ipc lends the trainer's GPU memory"),
        (["vllm.weight_transfer=ipc", "vllm.tensor_parallel_size=2"], SHARED, "ipc lends the trainer's GPU memory"),
        (["vllm.weight_transfer=nccl"], SHARED, "nccl needs GPUs for vLLM alone"),
        (["vllm.weight_transfer=nccl"], HERE, "nccl needs GPUs for vLLM alone"),
        (["vllm.weight_transfer=nccl", "model.lora.rank=8"], ALONE, "model.lora trains adapters: leave it out"),
    ],
)
def test_settings_that_do_not_go_together(overrides: list[str], served: ServerNeeds, told: str):
    with pytest.raises(ConfigError, match=told):
        refuse(config(*overrides), served.placed)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://localhost:8000", "http://[::1]:8000/v1"])
def test_servers_of_this_machine_are_taken(url: str):
    refuse(config(f"vllm.url={url}"), HERE.placed)


@pytest.mark.parametrize("name", ["max-model-len", "max_model_len", "--quantization", "uds", "host"])
def test_options_that_the_run_sets_itself(name: str):
    with pytest.raises(ConfigError, match="is set by the run"):
        refuse(config(f"vllm.options={{{name}: 1}}"), HERE.placed)


@pytest.mark.parametrize("overrides", [[], ["model.lora.rank=8"]])
@pytest.mark.parametrize("served", [HERE, SHARED])
def test_an_option_that_the_run_sets_is_the_users_only_if_it_changes_no_result(
    overrides: list[str], served: ServerNeeds
):
    command, _ = serve_command(config(*overrides), served, FOLDER)
    names = {part.removeprefix("--") for part in command if part.startswith("--")}
    assert names - DECIDED <= {"seed", "enforce-eager", "block-size", "no-enable-chunked-prefill"}
    # On a CPU vLLM dies where it reads a prompt in parts.
    assert ("no-enable-chunked-prefill" in names) == (served.placed.trainer is None)


def test_a_rank_that_vllm_has_no_room_for():
    command, _ = serve_command(config("model.lora.rank=20"), HERE, FOLDER)
    assert command[command.index("--max-lora-rank") + 1] == "32"
    with pytest.raises(ConfigError, match="up to rank 512"):
        refuse(config("model.lora.rank=600"), HERE.placed)


def test_full_weights_begin_at_random_and_adapters_with_the_base():
    full, _ = serve_command(config(), HERE, FOLDER)
    lora, _ = serve_command(config("model.lora.rank=8"), HERE, FOLDER)
    assert full[full.index("--load-format") + 1] == "dummy"
    assert "--load-format" not in lora and "--enable-lora" in lora


@pytest.mark.parametrize(("way", "served"), [("ipc", SHARED), ("nccl", ALONE)])
def test_ways_from_gpu_to_gpu(way: str, served: ServerNeeds, caplog: pytest.LogCaptureFixture):
    wanted = config(f"vllm.weight_transfer={way}")
    refuse(wanted, served.placed)
    assert caplog.messages == [f"vllm.weight_transfer: {way} is untested: no GPU has run it yet"]
    command, variables = serve_command(wanted, served, FOLDER)
    assert json.loads(command[command.index("--weight-transfer-config") + 1]) == {"backend": way}
    # Handles of GPU memory are pickled, and only they.
    assert variables.get("VLLM_ALLOW_INSECURE_SERIALIZATION") == {"ipc": "1"}.get(way)


def test_a_server_listens_where_no_other_user_can_ask_it():
    command, _ = serve_command(config(), HERE, FOLDER)
    assert command[command.index("--uds") + 1] == "/dev/shm/aepo-vllm-one/socket"
    assert not {"--host", "--port"} & set(command)


def test_settings_of_vllm_without_it_are_not_silently_unused():
    with pytest.raises(ConfigError, match=r"vllm\.devices is set, but engine is local: set engine: vllm"):
        load(None, ["vllm.devices=1"])
