"""Checks after each hand-over that a server has the trained policy, by comparing log-probabilities with the trainer's.

A reply of HTTP 200 is not enough. A server also answers if it lacks a tensor, keeps old keys and values, or multiplies
by an old copy of its output layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy

Continuation = tuple[list[int], list[float]]
"""Token ids, and ln p of each."""
TOKENS = 16
"""Sampled tokens after each text."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest mean difference in nats. Measured: 1e-5 and 0.04 with equal weights; 0.16 and more with other ones."""
GROWTH, FLOOR = 10.0, 0.1
"""The difference may be `GROWTH` times that of the first hand-over, and always `FLOOR` of the tolerance."""


def difference(policy: LocalPolicy, texts: Sequence[Sequence[int]], drawn: Sequence[Continuation]) -> float:
    """The mean absolute difference of ln p, at temperature 1 in nats, between a server that drew after texts and us."""
    rows = [[*text, *tokens] for text, (tokens, _) in zip(texts, drawn, strict=True)]
    tokens_BT = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    wanted_BT = torch.zeros_like(tokens_BT)
    said_BT = torch.zeros(tokens_BT.shape)
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        tokens_BT[number, : len(row)] = torch.tensor(row)
        wanted_BT[number, len(text) : len(row)] = 1
        said_BT[number, len(text) : len(row)] = torch.tensor(drawn[number][1])
    with torch.no_grad():
        ours_BT = policy.score(tokens_BT.to(policy.device), wanted_BT.to(policy.device), 1.0).cpu()
    return float(((ours_BT - said_BT).abs() * wanted_BT).sum() / wanted_BT.sum())


def allowed(tolerance: float, first: float | None) -> float:
    """The largest difference that is accepted, if the first hand-over showed this one."""
    return tolerance if first is None else min(tolerance, max(GROWTH * first, FLOOR * tolerance))
