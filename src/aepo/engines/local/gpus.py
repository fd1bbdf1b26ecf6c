"""Tells which GPUs a run leaves idle."""

from __future__ import annotations

from collections.abc import Collection

import torch


def idle(device: torch.device, server: Collection[int] = ()) -> str | None:
    """A line about the GPUs that a run does not use, and how to use them; None if there are none.

    Args:
        device: The device of the trainer.
        server: The numbers of the GPUs of a server that samples for it.
    """
    count = torch.cuda.device_count()
    if device.type != "cuda" and count:
        return f"{_many(count)}, none is used: the run is on {device.type}; set model.device: cuda"
    used = {device.index or 0, *server}
    if not (free := [number for number in range(count) if number not in used]):
        return None
    taken = "one is" if len(used) == 1 else f"{len(used)} are"
    more = "vllm.tensor_parallel_size gives the server more" if server else "engine: vllm samples on another one"
    return (
        f"{_many(count)}, {taken} used: other runs fit beside this one, e.g. with another seed "
        f"(CUDA_VISIBLE_DEVICES={free[0]} aepo train ... seed=1 run=FOLDER); {more}; "
        "engine: verl trains one model on all"
    )


def _many(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
