"""Refuses settings that a run with vLLM does not support, before anything is loaded, and servers that do not fit it."""

from __future__ import annotations

import json
import logging
from urllib.parse import urlsplit

from aepo.config import Config, ConfigError
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.openai.probe import TEXT
from aepo.engines.vllm.command import BACKENDS, DECIDED, NAME, RANKS, user_options
from aepo.engines.vllm.control import Control, VllmError
from aepo.engines.vllm.needs import Devices, ServerNeeds

_log = logging.getLogger(__name__)

OLDEST = (0, 32)
"""The first version that was tried."""
HERE = ("127.0.0.1", "localhost", "::1")


def refuse(config: Config, placed: Devices) -> None:
    """Check that the settings go together, and with the GPUs; warn of a way of the weights that is untested.

    Raises:
        ConfigError: They do not; the message says what to write instead.
    """
    vllm, lora, overlap, on_cpu = config.vllm, config.model.lora, config.rollout.overlap, placed.trainer is None
    decided = sorted(user_options(config).keys() & DECIDED)
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
        "trainer works": placed.shared and overlap,
        f"{way} hands all weights over, and model.lora trains adapters: leave it out": (
            vllm.weight_transfer != "file" and lora
        ),
        f"model.lora.rank is too large: vLLM serves adapters up to rank {RANKS[-1]}": lora and lora.rank > RANKS[-1],
        f"{way} lends the trainer's GPU memory, so one GPU has trainer and server (vllm.devices): set it to file": (
            vllm.weight_transfer == "ipc" and (not placed.shared or vllm.tensor_parallel_size > 1)
        ),
        f"{way} needs GPUs for vLLM alone (vllm.devices): set it to file": (
            vllm.weight_transfer == "nccl" and (on_cpu or placed.shared)
        ),
        f"vllm.url is {vllm.url}, but weights go through this machine's memory, and vLLM's interface for them has no "
        "key: start the server here, and let it listen on 127.0.0.1": (
            vllm.url is not None and urlsplit(vllm.url).hostname not in HERE
        ),
        f"vllm.options: {', '.join(decided)} is set by the run: use the settings of vllm, rollout and model": decided,
    }
    for told, wrong in refusals.items():
        if wrong:
            raise ConfigError(told)
    if vllm.weight_transfer != "file":
        _log.warning("%s is untested: no GPU has run it yet", way)


def check_server(control: Control, config: Config, needs: ServerNeeds) -> None:
    """Check the version of a server, and how it was started.

    Raises:
        VllmError: The server cannot be used; the message names the options to start it with.
    """
    version = str(control.get("/version").get("version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise VllmError(f"vLLM {version or 'of an unknown version'} is too old: install 0.{OLDEST[1]} or later")
    found = control.get("/server_info?config_format=json").get("vllm_config", {})
    # A part that the server does not use is null.
    model, cache, transfer, lora = (
        found.get(f"{part}_config") or {} for part in ("model", "cache", "weight_transfer", "lora")
    )
    fits = {
        f"--dtype {needs.dtype}": str(model.get("dtype")).removeprefix("torch.") == needs.dtype,
        "--logprobs-mode processed_logprobs": model.get("logprobs_mode") == "processed_logprobs",
        f"--max-logprobs {config.vllm.logprobs}": not -1 < (model.get("max_logprobs") or 0) < config.vllm.logprobs,
        f"--max-model-len {needs.length}": (model.get("max_model_len") or 0) >= needs.length,
        "--enable-prefix-caching": bool(cache.get("enable_prefix_caching")),
        "no --quantization": model.get("quantization") is None,
        "no --speculative-config": found.get("speculative_config") is None,
    }
    if config.model.lora is None:
        backend = BACKENDS[config.vllm.weight_transfer]
        fits[f"--weight-transfer-config '{json.dumps({'backend': backend})}'"] = transfer.get("backend") == backend
    else:
        rank = config.model.lora.rank
        fits[f"--enable-lora --max-lora-rank {rank}"] = (lora.get("max_lora_rank") or 0) >= rank
    if lacking := [option for option, has in fits.items() if not has]:
        raise VllmError(f"the vLLM server does not fit this run: start it with {', '.join(lacking)}")


def check_model(control: Control, policy: LocalPolicy) -> None:
    """Check that a server has a model of the policy's form and its tokenizer, and let it sample only ids of that.

    Raises:
        VllmError: It has another one.
    """
    ours = policy.model.config.get_text_config().to_dict()
    for form in control.workers("aepo_prepare", len(policy.tokenizer)):
        for name, theirs in form.items():
            if ours.get(name) != theirs:
                other = f"its {name} is {theirs}, the trained one's {ours.get(name)}"
                raise VllmError(f"the vLLM server has another model: {other}")
    asked = control.post("/tokenize", {"model": NAME, "prompt": TEXT, "add_special_tokens": False}).get("tokens")
    if asked != (given := policy.tokenizer.encode(TEXT, add_special_tokens=False)):
        raise VllmError(f"the vLLM server has another tokenizer: it writes {TEXT!r} as {asked}, ours {given}")
