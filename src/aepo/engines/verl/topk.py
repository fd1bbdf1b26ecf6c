"""Entropies from what a server says about its likeliest tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from aepo.core.entropy import topk_entropy


def entropies(positions: Sequence[Mapping[int, Any]]) -> list[float]:
    """A lower bound of each token's entropy, nats, from vLLM's {token: Logprob} of each position.

    The sampled token is among them even if it is not one of the likeliest; it is an outcome like the others.
    """
    return [
        float(topk_entropy(torch.tensor([found.logprob for found in position.values()], dtype=torch.float64)))
        for position in positions
    ]
