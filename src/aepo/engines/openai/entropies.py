"""Token entropies from the likeliest tokens of a server's reply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from aepo.core.entropy import topk_entropy

REFERENCE_CANDIDATES = 10


def lower_bounds(top: Sequence[Mapping[int, float]], count: int) -> list[float]:
    """A lower bound of each position's entropy, in nats, from its `count` likeliest tokens (`core.entropy`).

    A server adds the sampled token if it is not among them. It is left out, so that the bound depends on the
    distribution alone.
    """
    if not top:
        return []
    rows = [likeliest(entry, count) for entry in top]
    width = max(map(len, rows))
    padded = [row + [-math.inf] * (width - len(row)) for row in rows]
    # If one token has all the probability, rounding can give an entropy of -1e-8.
    return [float(h) for h in topk_entropy(torch.tensor(padded, dtype=torch.float64)).clamp_(min=0.0)]


def reference(top: Sequence[Mapping[int, float]]) -> list[float]:
    """-sum p ln p over the ten likeliest tokens of each position."""
    return [
        math.fsum(-math.exp(lp) * lp for lp in likeliest(entry, REFERENCE_CANDIDATES) if lp > -math.inf)
        for entry in top
    ]


def likeliest(entry: Mapping[int, float], count: int) -> list[float]:
    """The `count` largest ln p, in order."""
    return sorted(entry.values(), reverse=True)[:count]
