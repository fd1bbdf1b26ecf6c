"""What the trainer's GPU and that of a vLLM server will hold.

The check before a run is here, and not in `aepo.engines.vllm`, because it counts the training pass as the doctor does,
and engines know no doctor.
"""

from __future__ import annotations

import torch

from aepo.config import Config, ConfigError
from aepo.doctor import estimate
from aepo.doctor.counted import Counted, counted
from aepo.doctor.finding import Finding, size
from aepo.doctor.fit import Need, misfit
from aepo.engines.vllm.needs import Devices, devices, share, sleeps


def check(config: Config, prompt: int) -> None:
    """Check that a server that the run starts and the trainer fit on their GPUs; without a GPU nothing is checked.

    Args:
        config: The run's.
        prompt: Tokens of its longest prompt.

    Raises:
        ConfigError: It does not; says which settings to change.
        ValueError: The model cannot be counted.
    """
    placed = devices(config)
    if config.vllm.url is not None or not placed.numbers:
        return
    found = misfit(need_on(config, counted(config, prompt), placed, prompt))
    if found is not None:
        raise ConfigError(": ".join(found))


def need_on(config: Config, model: Counted, placed: Devices, prompt: int) -> Need:
    """What a run needs on the GPUs of this machine, of which it has a trainer's and a server's."""
    sizes = [torch.cuda.get_device_properties(n).total_memory for n in (placed.trainer or 0, *placed.numbers)]
    return need(config, model, placed.shared, sizes[0], min(sizes[1:]), prompt)


def need(config: Config, model: Counted, shared: bool, trainer_gpu: int, server_gpu: int, prompt: int) -> Need:
    """What a run needs.

    Args:
        config: The run's.
        model: Its model.
        shared: Whether trainer and server share a GPU.
        trainer_gpu: Bytes of the trainer's.
        server_gpu: Bytes of each of the server's.
        prompt: Tokens of the longest prompt.
    """
    memory = estimate.memory(config, model.shape, model.training, model.dtype, on_cpu=False, prompt=prompt)
    lora, split = config.model.lora is not None, config.vllm.tensor_parallel_size
    served = model.shape.parameters + (model.training.trained if lora else 0)
    return Need(
        trainer_gpu=trainer_gpu,
        server_gpu=server_gpu,
        shared=shared,
        sleeps=sleeps(config, shared),
        share=share(config, shared),
        held=memory.weights + memory.training,
        working=memory.activations,
        weights=served * estimate.BYTES[model.dtype] // split,
        trajectory=estimate.cache_bytes(model.shape, prompt + config.rollout.max_tokens, model.dtype) // split,
        adapters=lora,
        checkpointed=config.model.gradient_checkpointing,
    )


def findings(config: Config, model: Counted, prompt: int) -> list[Finding]:
    """What each GPU will hold, and whether that fits; for a server of the user's, only how to learn it."""
    placed = devices(config)
    if config.vllm.url is not None or not placed.numbers:
        whose = f"of {config.vllm.url}" if config.vllm.url else f"on GPU {', '.join(placed.server)}, not visible here"
        return [Finding("vllm", "memory", f"not estimated: the server is {whose}", "note")]
    needed = need_on(config, model, placed, prompt)
    tokens = f"{prompt + config.rollout.max_tokens:,}"
    asleep = ""
    if needed.sleeps:
        where = "the machine's memory" if needed.adapters else "no place: they come anew"
        asleep = f"; asleep while the trainer works, with its weights in {where}"
    lines = [
        Finding(
            "vllm",
            "trainer's GPU",
            f"cuda:{placed.trainer}, {size(needed.trainer_gpu)}: {size(needed.in_rollout)} in a rollout"
            f"{', vLLM included' if needed.shared else ''}; {size(needed.in_training)} in training, "
            f"of which a pass {size(needed.working)}",
        ),
        Finding(
            "vllm",
            "server's GPU",
            f"GPU {', '.join(placed.server)}, {size(needed.server_gpu)}: vLLM takes {needed.share:g} of it, "
            f"{size(needed.taken)}: weights {size(needed.weights)}, and a cache for {needed.trajectories:,} whole "
            f"trajectories of {tokens} tokens{asleep}",
        ),
    ]
    found = misfit(needed)
    return lines if found is None else [*lines, Finding("vllm", "memory", found[0], "missing", found[1])]
