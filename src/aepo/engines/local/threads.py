"""How many CPU threads to use: measured, since on a busy machine two can be slower than one."""

from __future__ import annotations

import os
import time
from math import inf
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy

ROWS = 8
LENGTHS = (8, 128)
ARITHMETIC = 2e9
"""Parameters times tokens of a pass: a second or so on one core, whatever the model's size."""
WORTH = 0.9
"""More threads must need less than this share of the time."""
HOPELESS = 3.0
"""A first pass is slower than later ones, but not this many times."""


def fastest_threads(policy: LocalPolicy, repetitions: int = 3) -> int:
    """The number of threads with which a forward and backward pass is fastest, of 1, 2, 4, ... up to the cores."""
    vocabulary = len(policy.tokenizer)
    size = sum(parameter.numel() for parameter in policy.model.parameters())
    length = min(max(int(ARITHMETIC / size / ROWS), LENGTHS[0]), LENGTHS[1])
    tokens_BT = torch.arange(ROWS * length).remainder(vocabulary).reshape(ROWS, length).to(policy.device)
    wanted_BT = torch.ones_like(tokens_BT)
    wanted_BT[:, 0] = 0

    def seconds(threads: int, enough: float) -> float:
        """The shortest of several passes; no second one where the first takes `enough`, as on a busy machine."""
        torch.set_num_threads(threads)
        times: list[float] = []
        while len(times) <= repetitions and not (times and times[0] > enough):
            began = time.perf_counter()
            policy.score(tokens_BT, wanted_BT, 1.0).sum().backward()
            times.append(time.perf_counter() - began)
        policy.model.zero_grad(set_to_none=True)
        return min(times)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    best, best_seconds = 1, seconds(1, inf)
    threads = 2
    while threads <= cores:
        taken = seconds(threads, HOPELESS * best_seconds)
        if taken < WORTH * best_seconds:
            best, best_seconds = threads, taken
        threads *= 2
    torch.set_num_threads(best)
    return best
