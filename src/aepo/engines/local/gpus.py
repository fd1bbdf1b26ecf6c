"""Tells which GPUs a run leaves idle."""

from __future__ import annotations

import torch


def idle(device: torch.device) -> str | None:
    """A line about the GPUs that a run on a device does not use, and how to use them; None if there are none."""
    count = torch.cuda.device_count()
    if device.type != "cuda" and count:
        return f"{_many(count)}, none is used: the run is on {device.type}; set model.device: cuda"
    if count < 2:
        return None
    return (
        f"{_many(count)}, one is used: other runs fit beside this one, e.g. with another seed "
        "(CUDA_VISIBLE_DEVICES=1 aepo train ... seed=1 run=FOLDER); engine: verl trains one model on all"
    )


def _many(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
