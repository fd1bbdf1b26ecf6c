"""vLLM's 20 likeliest tokens become a bound on the entropy; a class stands in for verl's server, which needs vLLM."""

from __future__ import annotations

import math
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest


def position(*chances: float) -> dict[int, Any]:
    return {token: SimpleNamespace(logprob=math.log(p)) for token, p in enumerate(chances)}


class Engine:
    """Gives two tokens with as many log-probabilities as it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def generate(self, *, prompt: Any, sampling_params: Any, request_id: str, priority: int):
        self.asked.append(sampling_params.logprobs)
        found = [position(0.5, 0.5), position(0.9, 0.1)] if sampling_params.logprobs else None
        yield SimpleNamespace(outputs=[SimpleNamespace(logprobs=None)])
        yield SimpleNamespace(outputs=[SimpleNamespace(logprobs=found)])


class StandIn:
    """verl's server, as far as ours builds on it."""

    def __init__(self) -> None:
        self.engine: Any = Engine()

    async def generate(self, prompt_ids: list[int], sampling_params: dict[str, Any], request_id: str) -> Any:
        asked = SimpleNamespace(logprobs=0 if sampling_params.pop("logprobs", False) else None)
        async for _ in self.engine.generate(
            prompt=prompt_ids, sampling_params=asked, request_id=request_id, priority=0
        ):
            pass
        return SimpleNamespace(token_ids=[0, 1], log_probs=[-0.7, -0.1], extra_fields={"global_steps": 1})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
    fake: Any = ModuleType("vllm_async_server")
    fake.vLLMHttpServer, fake.vLLMReplica = StandIn, type("vLLMReplica", (), {})
    monkeypatch.setitem(sys.modules, "verl.workers.rollout.vllm_rollout", ModuleType("vllm_rollout"))
    monkeypatch.setitem(sys.modules, "verl.workers.rollout.vllm_rollout.vllm_async_server", fake)
    monkeypatch.delitem(sys.modules, "aepo.engines.verl.vllm", raising=False)
    from aepo.engines.verl.vllm import TopLogprobsServer

    yield TopLogprobsServer()
    sys.modules.pop("aepo.engines.verl.vllm", None)


def test_a_request_for_log_probabilities_asks_for_twenty_and_returns_entropies(server: Any):
    output = anyio.run(server.generate, [1, 2], {"logprobs": True}, "a")
    assert output.extra_fields["entropies"] == pytest.approx([math.log(2), -0.9 * math.log(0.9) - 0.1 * math.log(0.1)])
    assert output.extra_fields["entropy_estimator"] == "topk"
    assert server.engine.engine.asked == [20]
    assert server.engine.ended == {}


def test_a_request_without_them_is_left_alone(server: Any):
    output = anyio.run(server.generate, [1, 2], {}, "a")
    assert "entropies" not in output.extra_fields
    assert server.engine.engine.asked == [None]
