"""Refuses settings that a run with vLLM does not support, before anything is loaded, and servers with wrong options."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from aepo.config import Config, ConfigError
from aepo.engines.vllm.command import ServerNeeds
from aepo.engines.vllm.control import VllmError

OLDEST = (0, 32)
"""The first version that was tried."""


def refuse(config: Config, served: ServerNeeds) -> None:
    """Check that the settings go together.

    Raises:
        ConfigError: They do not; the message says what to write instead.
    """
    vllm = config.vllm
    if config.rollout.deterministic:
        raise ConfigError(
            "rollout.deterministic cannot be promised by vLLM, which batches as it likes: set it to false"
        )
    if vllm.enable_sleep_mode and config.rollout.overlap:
        raise ConfigError("vllm.enable_sleep_mode and rollout.overlap: a server cannot sleep while it samples")
    if vllm.enable_sleep_mode and served.device == "cpu":
        raise ConfigError("vllm.enable_sleep_mode needs a GPU: vLLM cannot sleep on a CPU")
    if served.shared and config.rollout.overlap:
        raise ConfigError(
            "rollout.overlap needs a GPU for vLLM alone (vllm.devices): on the trainer's GPU the server sleeps while "
            "the trainer works"
        )
    if vllm.url is not None and not _is_here(vllm.url):
        raise ConfigError(
            f"vllm.url is {vllm.url}, but weights go through files of this machine, and vLLM's interface for them has "
            "no key: start the server here, and let it listen on 127.0.0.1"
        )


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_server(version: str, settings: dict[str, Any], config: Config, served: ServerNeeds, backend: str) -> None:
    """Check how a server was started.

    Args:
        version: The version of vLLM.
        settings: The server's configuration (`Control.settings`).
        config: The run's configuration.
        served: The model that the run needs.
        backend: The name of vLLM's weight transfer for full training.

    Raises:
        VllmError: The server cannot be used; the message names the option to start it with.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        raise VllmError(f"vLLM {version or 'of an unknown version'} is too old: install 0.{OLDEST[1]} or later")
    model, cache = settings.get("model_config") or {}, settings.get("cache_config") or {}
    wanted = [
        (str(model.get("dtype")).removeprefix("torch.") == served.dtype, f"--dtype {served.dtype}"),
        (model.get("logprobs_mode") == "processed_logprobs", "--logprobs-mode processed_logprobs"),
        (int(model.get("max_logprobs") or 0) >= config.vllm.logprobs, f"--max-logprobs {config.vllm.logprobs}"),
        (int(model.get("max_model_len") or 0) >= served.length, f"--max-model-len {served.length}"),
        (bool(cache.get("enable_prefix_caching")), "--enable-prefix-caching"),
        (model.get("quantization") is None, "no --quantization"),
        (settings.get("speculative_config") is None, "no --speculative-config"),
    ]
    if config.model.lora is None:
        transfer = (settings.get("weight_transfer_config") or {}).get("backend")
        wanted += [(transfer == backend, f'--weight-transfer-config \'{{"backend": "{backend}"}}\'')]
    else:
        rank = (settings.get("lora_config") or {}).get("max_lora_rank") or 0
        needed = config.model.lora.rank
        wanted += [(int(rank) >= needed, f"--enable-lora --max-lora-rank {needed}")]
    lacking = [option for has, option in wanted if not has]
    if lacking:
        raise VllmError(f"the vLLM server does not fit this run: start it with {', '.join(lacking)}")
