"""Checks after each hand-over that a server has the trained policy, by comparing log-probabilities with the trainer's.

A reply of HTTP 200 is not enough. A server also answers if it lacks a tensor, keeps old keys and values, or multiplies
by an old copy of its output layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from aepo.engines.vllm.control import VllmError

TOKENS = 16
"""Sampled tokens after each text."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest mean difference in nats. Measured: 1e-5 and 0.04 with equal weights; 0.16 and more with other ones."""
GROWTH = 10.0
"""The difference may be this factor times that of the first hand-over, and always `FLOOR` of the tolerance."""
FLOOR = 0.1


class Scores(Protocol):
    """Computes the trainer's log-probabilities."""

    device: torch.device

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """(B, T): ln p of each wanted token; see `LocalPolicy.score`."""
        ...


@dataclass
class HandOverCheck:
    """Compares log-probabilities after fixed texts, after each hand-over.

    Attributes:
        policy: The trainer's policy.
        sample: Draws `TOKENS` tokens after each of the texts; returns ids and ln p at temperature 1.
        texts: The token ids of the texts; none is longer than the model allows.
        tolerance: The largest mean difference that is accepted, in nats.
        first: The mean difference after the first hand-over, in nats.
    """

    policy: Scores
    sample: Callable[[Sequence[Sequence[int]]], list[tuple[list[int], list[float]]]]
    texts: Sequence[Sequence[int]]
    tolerance: float
    first: float | None = field(default=None, init=False)

    def difference(self) -> float:
        """The mean absolute difference of ln p, in nats.

        Raises:
            VllmError: It is above the tolerance, or far above the first one.
        """
        drawn = self.sample(self.texts)
        rows = [[*text, *tokens] for text, (tokens, _) in zip(self.texts, drawn, strict=True)]
        tokens_BT = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        wanted_BT = torch.zeros_like(tokens_BT)
        said_BT = torch.zeros(tokens_BT.shape)
        for number, (row, text) in enumerate(zip(rows, self.texts, strict=True)):
            tokens_BT[number, : len(row)] = torch.tensor(row)
            wanted_BT[number, len(text) : len(row)] = 1
            said_BT[number, len(text) : len(row)] = torch.tensor(drawn[number][1])
        with torch.no_grad():
            ours_BT = self.policy.score(tokens_BT.to(self.policy.device), wanted_BT.to(self.policy.device), 1.0).cpu()
        found = float(((ours_BT - said_BT).abs() * wanted_BT).sum() / wanted_BT.sum())
        limit = self.tolerance
        if self.first is not None:
            limit = min(limit, max(GROWTH * self.first, FLOOR * self.tolerance))
        if not found <= limit:
            raise VllmError(
                f"vLLM does not have the policy's weights: its log-probabilities are {found:.2g} nats off on average "
                f"({limit:.2g} is allowed; vllm.max_difference)"
            )
        self.first = found if self.first is None else self.first
        return found
