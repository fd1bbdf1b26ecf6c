"""Makes the command line and the environment of a vLLM server for a run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from aepo.config import Config
from aepo.engines.vllm.needs import ServerNeeds, share, sleeps

NAME = "policy"
"""The server's name of the model."""
BACKENDS = {"file": "aepo_file", "ipc": "ipc", "nccl": "nccl"}
"""vLLM's names of the ways to hand all weights over; the first is that of `worker`."""
CPU_CACHE = 1
"""GiB of a server's cache on a CPU."""
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks of adapters for which vLLM can make room."""
DECIDED = frozenset(
    {
        "model", "tokenizer", "served-model-name", "uds", "host", "port", "api-key", "dtype", "max-model-len",
        "max-num-seqs", "logprobs-mode", "max-logprobs", "generation-config", "worker-extension-cls", "load-format",
        "weight-transfer-config", "enable-lora", "max-lora-rank", "max-loras", "max-cpu-loras", "enable-sleep-mode",
        "gpu-memory-utilization", "tensor-parallel-size", "data-parallel-size", "quantization", "speculative-config",
        "enable-prefix-caching", "no-enable-prefix-caching",
    }
)  # fmt: skip
"""Options that a run decides, or that would make the served policy differ from the trained one."""


def serve_command(config: Config, needs: ServerNeeds, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment variables of a server that listens on the file `socket` in its folder."""
    command = [config.vllm.python or sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    for name, value in (_options(config, needs, folder) | user_options(config)).items():
        if value is True:
            command.append(f"--{name}")
        elif value not in (False, None):
            command += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    return command, _variables(config, needs, folder)


def user_options(config: Config) -> dict[str, Any]:
    """The user's options of the server, by their names on the command line without dashes before them."""
    return {name.lstrip("-").replace("_", "-"): value for name, value in config.vllm.options.items()}


def _options(config: Config, needs: ServerNeeds, folder: Path) -> dict[str, Any]:
    on_cpu, lora, shared = needs.placed.trainer is None, config.model.lora, needs.placed.shared
    options: dict[str, Any] = {
        "model": needs.model,
        "tokenizer": needs.tokenizer,
        "served-model-name": NAME,
        "uds": str(folder / "socket"),
        "dtype": needs.dtype,
        "max-model-len": needs.length,
        "max-num-seqs": max(config.rollout.max_sequences, config.algorithm.group_size),
        "logprobs-mode": "processed_logprobs",
        "max-logprobs": config.vllm.logprobs,
        "generation-config": "vllm",
        "worker-extension-cls": "aepo_vllm_worker.Extension",
        "seed": config.seed,
        # On a CPU a graph takes minutes to compile, and not all kernels support smaller blocks.
        "enforce-eager": on_cpu,
        "block-size": 32 if on_cpu else 16,
        # Between two parts of a prompt vLLM 0.32 sets back a row's random generator, which it cannot do on a CPU.
        "no-enable-chunked-prefill": on_cpu,
    }
    if lora is None:
        # The server begins with random weights, so a missing first hand-over is noticed.
        backend = BACKENDS[config.vllm.weight_transfer]
        options |= {"load-format": "dummy", "weight-transfer-config": {"backend": backend}}
    else:
        # The server holds the run's adapter, and the one before it until its requests end.
        options |= {"enable-lora": True, "max-loras": 1, "max-cpu-loras": 2}
        options |= {"max-lora-rank": next(rank for rank in RANKS if rank >= lora.rank)}
    if not on_cpu:
        options |= {"gpu-memory-utilization": share(config, shared), "enable-sleep-mode": sleeps(config, shared)}
        options |= {"tensor-parallel-size": config.vllm.tensor_parallel_size}
    return options


def _variables(config: Config, needs: ServerNeeds, folder: Path) -> dict[str, str]:
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
        "CUDA_VISIBLE_DEVICES": ",".join(needs.placed.server),
    }
    if config.vllm.weight_transfer == "ipc":
        # vLLM reads handles of GPU memory with pickle. Only this user can send it any.
        variables["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
    if needs.placed.trainer is None:
        variables |= {"VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return variables
