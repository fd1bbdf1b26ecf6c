"""How far a server's log-probabilities may be from the trainer's."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aepo.engines.openai.client import ServerError
from aepo.engines.vllm.check import WeightCheck
from aepo.engines.vllm.control import VllmError

FULL = [7] * 16


class Drawn:
    """A server that gives each of its tokens this ln p."""

    endpoint = SimpleNamespace(url="http://vllm")

    def __init__(self) -> None:
        self.logprob, self.tokens = -1.0, FULL

    def post(self, path: str, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        told = {"token_logprobs": [self.logprob] * len(self.tokens), "top_logprobs": []}
        return {"choices": [{"token_ids": self.tokens, "finish_reason": "length", "logprobs": told}]}


def made() -> tuple[Drawn, Any]:
    """A server, and a check of it with a trainer for which each token has ln p -1."""
    server = Drawn()
    policy: Any = SimpleNamespace(device="cpu", score=lambda tokens, wanted, temperature: -torch.ones(tokens.shape))
    control: Any = server
    return server, WeightCheck(policy, control, [[1, 2], [1]], tolerance=1e-3)


def test_after_the_first_hand_over_less_is_allowed():
    server, check = made()
    for off, allowed in [(1e-6, True), (9e-5, True), (5e-4, False)]:
        server.logprob = -1 - off
        if allowed:
            assert check.difference("policy") == pytest.approx(off, rel=0.1)
        else:
            with pytest.raises(VllmError, match=r"are 0\.0005 nats off on average \(0\.0001 is allowed"):
                check.difference("policy")


def test_the_first_hand_over_says_what_is_usual():
    server, check = made()
    for off in (5e-4, 9e-4):
        server.logprob = -1 - off
        check.difference("policy")
    server.logprob = -1 - 2e-3
    with pytest.raises(VllmError, match=r"0\.002 nats off on average \(0\.001 is allowed"):
        check.difference("policy")


def test_log_probabilities_that_are_no_numbers_are_no_weights():
    _, check = made()
    check.policy.score = lambda tokens, wanted, temperature: torch.full(tokens.shape, torch.nan)
    with pytest.raises(VllmError, match="are nan nats off"):
        check.difference("policy")


def test_a_reply_without_tokens_is_told():
    server, check = made()
    server.tokens = []
    with pytest.raises(ServerError, match="sent what vLLM would not: no token"):
        check.difference("policy")
