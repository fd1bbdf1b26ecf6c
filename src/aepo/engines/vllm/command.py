"""Makes the command line and the environment of a vLLM server for a run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aepo.config import Config, ConfigError
from aepo.engines.vllm.devices import Devices

NAME = "policy"
"""The server's name of the model."""
BACKENDS = {"file": "aepo_file", "ipc": "ipc", "nccl": "nccl"}
"""vLLM's names of the ways to hand all weights over; the first is that of `worker`."""
CPU_CACHE = 1
"""GiB of a server's cache on a CPU."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks of adapters for which vLLM can make room."""
OTHERS = frozenset(
    {
        "host", "port", "api-key", "quantization", "speculative-config", "data-parallel-size", "enable-prefix-caching",
        "no-enable-prefix-caching", "enable-sleep-mode", "gpu-memory-utilization", "tensor-parallel-size",
        "load-format", "weight-transfer-config", "enable-lora", "max-lora-rank", "max-loras", "max-cpu-loras",
    }
)  # fmt: skip
"""Options that a run decides, or that would make the served policy differ from the trained one."""


@dataclass(frozen=True)
class ServerNeeds:
    """What a server has to serve.

    Attributes:
        model: The folder or hub name of the model; with an adapter, of its base.
        tokenizer: The folder or hub name of the tokenizer.
        dtype: The type of the weights, "float32" or "bfloat16".
        length: The number of tokens that a sequence may hold.
        placed: The GPUs of trainer and server.
    """

    model: str
    tokenizer: str
    dtype: str
    length: int
    placed: Devices


def serve_command(config: Config, served: ServerNeeds, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment variables of a server.

    With full training the server begins with random weights, so a missing first hand-over is noticed. It listens on a
    socket in its folder, which no other user can open.

    Raises:
        ConfigError: An option is refused.
    """
    settings, lora = config.vllm, config.model.lora
    options: dict[str, Any] = {
        "model": served.model,
        "tokenizer": served.tokenizer,
        "served-model-name": NAME,
        "uds": str(folder / "socket"),
        "dtype": served.dtype,
        "max-model-len": served.length,
        "max-num-seqs": max(config.rollout.max_sequences, config.algorithm.group_size),
        "logprobs-mode": "processed_logprobs",
        "max-logprobs": settings.logprobs,
        "generation-config": "vllm",
        "worker-extension-cls": "aepo_vllm_worker.Extension",
    }
    if lora is None:
        options["weight-transfer-config"] = json.dumps({"backend": BACKENDS[settings.weight_transfer]})
        options["load-format"] = "dummy"
    else:
        # The server holds the run's adapter, and the one before it until its requests end.
        options |= {"enable-lora": True, "max-lora-rank": _rank(lora.rank), "max-loras": 1, "max-cpu-loras": 2}
    # On a CPU a graph takes minutes to compile, and not all kernels support smaller blocks.
    usual: dict[str, Any] = {"seed": config.seed, "enforce-eager": True, "block-size": 32}
    if served.placed.trainer is not None:
        options["gpu-memory-utilization"] = share(config, served.placed.shared)
        options["tensor-parallel-size"] = settings.tensor_parallel_size
        options["enable-sleep-mode"] = sleeps(config, served)
        usual |= {"enforce-eager": False, "block-size": 16}
    given = {name.lstrip("-").replace("_", "-"): value for name, value in settings.options.items()}
    if refused := sorted(given.keys() & (options.keys() | OTHERS)):
        raise ConfigError(f"vllm.options: {refused[0]} is set by the run: use the settings of vllm, rollout and model")
    command = [settings.python or sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    for name, value in (options | usual | given).items():
        text = value if isinstance(value, str) else json.dumps(value)
        command += [] if value in (False, None) else [f"--{name}"] if value is True else [f"--{name}", text]
    return command, _variables(config, served, folder)


def share(config: Config, shared: bool) -> float:
    """The share of a GPU's memory that the server takes."""
    given = config.vllm.gpu_memory_utilization
    return given if given is not None else 0.3 if shared else 0.9


def sleeps(config: Config, served: ServerNeeds) -> bool:
    """Whether the server gives its memory back while the trainer works."""
    wanted = config.vllm.enable_sleep_mode
    return served.placed.shared if wanted is None else wanted


def _variables(config: Config, served: ServerNeeds, folder: Path) -> dict[str, str]:
    # Packages of this interpreter may not fit another one.
    ours = os.environ.get("PYTHONPATH") if config.vllm.python is None else None
    variables = {
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        # The server must not close a connection during a long update, because the next request would fail.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "600",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), ours])),
        "TOKENIZERS_PARALLELISM": "false",
        "AEPO_VLLM_FOLDER": str(folder),
    }
    if config.vllm.weight_transfer == "ipc":
        # vLLM reads handles of GPU memory with pickle. Only this user can send it any.
        variables["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
    if served.placed.trainer is None:
        variables |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return variables | {"CUDA_VISIBLE_DEVICES": ",".join(served.placed.server)}


def _rank(rank: int) -> int:
    fitting = [one for one in RANKS if one >= rank]
    if not fitting:
        raise ConfigError(f"model.lora.rank is {rank}, and vLLM serves adapters up to rank {RANKS[-1]}: lower it")
    return fitting[0]
