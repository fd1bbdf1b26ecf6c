"""Measures how many CPU threads to use, because on a busy machine two can be slower than one."""

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
"""Parameters times tokens of a pass, so that it takes about a second on one core for a model of any size."""
WORTH = 0.9
"""More threads must need less than this share of the time."""
HOPELESS = 3.0
"""A number that takes this many times as long as another is not tried again. A first pass is slow, but not so slow."""


def fastest_threads(policy: LocalPolicy, repetitions: int = 4) -> int:
    """Find the number of threads, of 1, 2, 4, ... up to the cores, with which a forward and backward pass is fastest.

    The numbers are measured in turns, so that other work on the machine slows all of them alike.
    """
    vocabulary = len(policy.tokenizer)
    size = sum(parameter.numel() for parameter in policy.model.parameters())
    length = min(max(int(ARITHMETIC / size / ROWS), LENGTHS[0]), LENGTHS[1])
    tokens_BT = torch.arange(ROWS * length).remainder(vocabulary).reshape(ROWS, length).to(policy.device)
    wanted_BT = torch.ones_like(tokens_BT)
    wanted_BT[:, 0] = 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = {1 << power: inf for power in range(cores.bit_length())}
    for turn in range(repetitions):
        for threads, fastest in seconds.items():
            if turn and fastest > HOPELESS * min(seconds.values()):
                continue
            torch.set_num_threads(threads)
            began = time.perf_counter()
            policy.score(tokens_BT, wanted_BT, 1.0).sum().backward()
            seconds[threads] = min(fastest, time.perf_counter() - began)
            policy.model.zero_grad(set_to_none=True)
    best = 1
    for threads, taken in seconds.items():
        if taken < WORTH * seconds[best]:
            best = threads
    torch.set_num_threads(best)
    return best
