"""Refuses settings that a run with vLLM does not support, before anything is loaded, and servers that do not fit it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aepo.config import Config, ConfigError
from aepo.engines.openai.probe import TEXT
from aepo.engines.vllm.command import BACKENDS, NAME, ServerNeeds
from aepo.engines.vllm.control import Control, VllmError

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy

OLDEST = (0, 32)
"""The first version that was tried."""
HERE = ("127.0.0.1", "localhost", "::1")


def refuse(config: Config, served: ServerNeeds) -> None:
    """Check that the settings go together.

    Raises:
        ConfigError: They do not; the message says what to write instead.
    """
    vllm, overlap = config.vllm, config.rollout.overlap
    elsewhere = vllm.url is not None and urlsplit(vllm.url).hostname not in HERE
    on_cpu, shared = served.placed.trainer is None, served.placed.shared
    way = f"vllm.weight_transfer: {vllm.weight_transfer}"
    refusals = {
        "rollout.deterministic cannot be promised by vLLM, which batches as it likes: set it to false": (
            config.rollout.deterministic
        ),
        "vllm.enable_sleep_mode and rollout.overlap: a server cannot sleep while it samples": (
            vllm.enable_sleep_mode and overlap
        ),
        "vllm.enable_sleep_mode needs a GPU: vLLM cannot sleep on a CPU": vllm.enable_sleep_mode and on_cpu,
        "rollout.overlap needs a GPU for vLLM alone (vllm.devices): on the trainer's GPU the server sleeps while the "
        "trainer works": shared and overlap,
        f"{way} hands all weights over, and model.lora trains adapters: leave it out": (
            vllm.weight_transfer != "file" and config.model.lora
        ),
        f"{way} lends the trainer's GPU memory, so one GPU has trainer and server (vllm.devices): set it to file": (
            vllm.weight_transfer == "ipc" and (not shared or vllm.tensor_parallel_size > 1)
        ),
        f"{way} needs GPUs for vLLM alone (vllm.devices): set it to file": (
            vllm.weight_transfer == "nccl" and (on_cpu or shared)
        ),
        f"vllm.url is {vllm.url}, but weights go through this machine's memory, and vLLM's interface for them has no "
        "key: start the server here, and let it listen on 127.0.0.1": elsewhere,
    }
    for told, wrong in refusals.items():
        if wrong:
            raise ConfigError(told)


def check_server(control: Control, config: Config, served: ServerNeeds) -> None:
    """Check the version of a server, and how it was started.

    Raises:
        VllmError: The server cannot be used; the message names the options to start it with.
    """
    version = str(control.get("/version").get("version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise VllmError(f"vLLM {version or 'of an unknown version'} is too old: install 0.{OLDEST[1]} or later")
    found = control.get("/server_info?config_format=json").get("vllm_config", {})
    model, cache = found.get("model_config") or {}, found.get("cache_config") or {}
    wanted = {
        f"--dtype {served.dtype}": str(model.get("dtype")).removeprefix("torch.") == served.dtype,
        "--logprobs-mode processed_logprobs": model.get("logprobs_mode") == "processed_logprobs",
        f"--max-logprobs {config.vllm.logprobs}": int(model.get("max_logprobs") or 0) >= config.vllm.logprobs,
        f"--max-model-len {served.length}": int(model.get("max_model_len") or 0) >= served.length,
        "--enable-prefix-caching": bool(cache.get("enable_prefix_caching")),
        "no --quantization": model.get("quantization") is None,
        "no --speculative-config": found.get("speculative_config") is None,
    }
    if (lora := config.model.lora) is None:
        backend = {"backend": BACKENDS[config.vllm.weight_transfer]}
        wanted[f"--weight-transfer-config '{json.dumps(backend)}'"] = (found.get("weight_transfer_config") or {}).get(
            "backend"
        ) == backend["backend"]
    else:
        rank = (found.get("lora_config") or {}).get("max_lora_rank") or 0
        wanted[f"--enable-lora --max-lora-rank {lora.rank}"] = int(rank) >= lora.rank
    if lacking := [option for option, has in wanted.items() if not has]:
        raise VllmError(f"the vLLM server does not fit this run: start it with {', '.join(lacking)}")


def check_model(control: Control, policy: LocalPolicy) -> None:
    """Check that a server has a model of the policy's form and its tokenizer, and let it sample only ids of that.

    Raises:
        VllmError: It has another one.
    """
    told = control.post("/collective_rpc", {"method": "aepo_prepare", "args": [len(policy.tokenizer)]})
    ours = policy.model.config.get_text_config().to_dict()
    for text in told.get("results", ()):
        other = next(((name, one) for name, one in json.loads(text).items() if ours.get(name) != one), None)
        if other is not None:
            raise VllmError(
                f"the vLLM server has another model: its {other[0]} is {other[1]}, the trained one's {ours[other[0]]}"
            )
    asked = control.post("/tokenize", {"model": NAME, "prompt": TEXT, "add_special_tokens": False}).get("tokens")
    if asked != (given := policy.tokenizer.encode(TEXT, add_special_tokens=False)):
        raise VllmError(f"the vLLM server has another tokenizer: it writes {TEXT!r} as {asked}, ours {given}")
