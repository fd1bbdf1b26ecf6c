"""What is refused before anything is loaded, and what a server must have been started with."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aepo.config import Config, ConfigError, load
from aepo.engines.vllm.command import ServerNeeds, serve_command
from aepo.engines.vllm.control import VllmError
from aepo.engines.vllm.refused import check_server, refuse

HERE = ServerNeeds("model", "model", "float32", 128)
SHARED = ServerNeeds("model", "model", "bfloat16", 128, "cuda", shared=True)
FITS = {
    "model_config": {
        "dtype": "torch.float32",
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": 20,
        "max_model_len": 128,
        "quantization": None,
    },
    "cache_config": {"enable_prefix_caching": True},
    "speculative_config": None,
    "weight_transfer_config": {"backend": "aepo_file"},
}


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
    ],
)
def test_settings_that_do_not_go_together(overrides: list[str], served: ServerNeeds, told: str):
    with pytest.raises(ConfigError, match=told):
        refuse(config(*overrides), served)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://localhost:8000", "http://[::1]:8000/v1"])
def test_servers_of_this_machine_are_taken(url: str):
    refuse(config(f"vllm.url={url}"), HERE)


@pytest.mark.parametrize("name", ["max-model-len", "max_model_len", "--quantization", "speculative-config"])
def test_options_that_the_run_sets_itself(name: str):
    with pytest.raises(ConfigError, match="is set by the run"):
        serve_command(config(f"vllm.options={{{name}: 1}}"), HERE, 1)


def test_a_rank_that_vllm_has_no_room_for():
    command, _ = serve_command(config("model.lora.rank=20"), HERE, 1)
    assert command[command.index("--max-lora-rank") + 1] == "32"
    with pytest.raises(ConfigError, match="up to rank 512"):
        serve_command(config("model.lora.rank=600"), HERE, 1)


def test_full_weights_begin_at_random_and_adapters_with_the_base():
    full, _ = serve_command(config(), HERE, 1)
    lora, _ = serve_command(config("model.lora.rank=8"), HERE, 1)
    assert full[full.index("--load-format") + 1] == "dummy"
    assert "--load-format" not in lora and "--enable-lora" in lora


def test_a_server_that_fits():
    check_server("0.32.0", FITS, config(), HERE, "aepo_file")


@pytest.mark.parametrize(
    ("section", "name", "value", "option"),
    [
        ("model_config", "dtype", "torch.bfloat16", "--dtype float32"),
        ("model_config", "logprobs_mode", "raw_logprobs", "--logprobs-mode processed_logprobs"),
        ("model_config", "max_logprobs", 5, "--max-logprobs 20"),
        ("model_config", "max_model_len", 100, "--max-model-len 128"),
        ("model_config", "quantization", "fp8", "no --quantization"),
        ("cache_config", "enable_prefix_caching", False, "--enable-prefix-caching"),
    ],
)
def test_a_server_that_lacks_an_option_is_told_it(section: str, name: str, value: Any, option: str):
    other = {**FITS, section: {**FITS[section], name: value}}  # type: ignore[dict-item]
    with pytest.raises(VllmError, match=re.escape(option)):
        check_server("0.33.1", other, config(), HERE, "aepo_file")


def test_an_old_version_and_one_without_our_way_of_taking_weights():
    with pytest.raises(VllmError, match=r"install 0\.32 or later"):
        check_server("0.11.0", FITS, config(), HERE, "aepo_file")
    with pytest.raises(VllmError, match="weight-transfer-config"):
        check_server("0.32.0", {**FITS, "weight_transfer_config": None}, config(), HERE, "aepo_file")
    with pytest.raises(VllmError, match="--enable-lora --max-lora-rank 8"):
        check_server("0.32.0", FITS, config("model.lora.rank=8"), HERE, "aepo_file")


def test_settings_of_vllm_without_it_are_not_silently_unused():
    with pytest.raises(ConfigError, match=r"vllm\.devices is set, but engine is local: set engine: vllm"):
        load(None, ["vllm.devices=1"])
