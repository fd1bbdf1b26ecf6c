"""Checks after each hand-over that a server has the trained policy, by comparing log-probabilities with the trainer's.

A reply of HTTP 200 is not enough. A server also answers if it lacks a tensor, keeps old keys and values, or multiplies
by an old copy of its output layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from aepo.engines.local.policy import LocalPolicy
from aepo.engines.openai.dialect import Reply, Wanted
from aepo.engines.openai.drawn import read
from aepo.engines.openai.vllm import VLLM
from aepo.engines.vllm.control import UPDATE_SECONDS, Control, VllmError

TOKENS = 16
"""Sampled tokens after each text."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Largest mean difference in nats. Measured: 1e-5 and 0.04 with equal weights; 0.16 and more with other ones."""
GROWTH, FLOOR = 10.0, 0.1
"""The difference may be `GROWTH` times that of the first hand-over, and always `FLOOR` of the tolerance."""


@dataclass
class WeightCheck:
    """Compares a server with the trainer's policy.

    Attributes:
        policy: The policy.
        control: The server.
        texts: The token ids of the texts after which both are compared.
        tolerance: Largest mean difference of ln p, in nats.
        first: The difference after the first hand-over.
    """

    policy: LocalPolicy
    control: Control
    texts: Sequence[Sequence[int]]
    tolerance: float
    first: float | None = None

    def difference(self, model: str) -> float:
        """The mean absolute difference of ln p, at temperature 1 in nats, of tokens that the served model draws.

        Raises:
            VllmError: It is too large.
        """
        differences: list[float] = []
        for seed, text in enumerate(self.texts):
            reply = self._reply(Wanted(model, text, TOKENS, seed=seed, top=0))
            ours = self._logprobs(text, reply.tokens)
            differences += [abs(one - other) for one, other in zip(ours, reply.logprobs, strict=True)]
        found = sum(differences) / len(differences)
        self.first = found if self.first is None else self.first
        limit = min(self.tolerance, max(GROWTH * self.first, FLOOR * self.tolerance))
        if not found <= limit:
            raise VllmError(
                f"vLLM does not have the policy's weights: its log-probabilities are {found:.2g} nats off on average "
                f"({limit:.2g} is allowed; vllm.max_difference)"
            )
        return found

    def _reply(self, wanted: Wanted) -> Reply:
        """What the server draws after a text."""
        call = VLLM.request(wanted)
        return read(self.control.post(call.path, call.body, UPDATE_SECONDS), VLLM, wanted, self.control.endpoint.url)

    @torch.no_grad()
    def _logprobs(self, text: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Ln p of the tokens after a text."""
        tokens_BT = torch.tensor([[*text, *tokens]], device=self.policy.device)
        wanted_BT = torch.zeros_like(tokens_BT)
        wanted_BT[:, len(text) :] = 1
        return list(self.policy.score(tokens_BT, wanted_BT, 1.0)[0, len(text) :].tolist())
