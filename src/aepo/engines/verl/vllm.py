"""vLLM's rollout server, which also returns a bound of each token's entropy from the 20 likeliest tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import ray
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica

from aepo.engines.openai.entropies import lower_bounds

TOP = 20


class _Watched:
    """An engine whose requests also ask for the likeliest tokens; their last outputs are kept until they are read."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.ended: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def generate(self, *, sampling_params: Any, request_id: str, **request: Any) -> AsyncIterator[Any]:
        if sampling_params.logprobs is not None:
            sampling_params.logprobs = TOP
        async for output in self.engine.generate(sampling_params=sampling_params, request_id=request_id, **request):
            self.ended[request_id] = output
            yield output


class TopLogprobsServer(vLLMHttpServer):  # type: ignore[misc]
    """verl's server; its `generate` adds `entropies`, in nats, to the result."""

    engine: Any

    async def generate(
        self, prompt_ids: list[int], sampling_params: dict[str, Any], request_id: str, **more: Any
    ) -> Any:
        """Sample tokens; verl calls this method."""
        if not isinstance(self.engine, _Watched):
            self.engine = _Watched(self.engine)
        try:
            output = await super().generate(prompt_ids, sampling_params, request_id, **more)
        finally:
            ended = self.engine.ended.pop(request_id, None)
        if ended is not None and ended.outputs and ended.outputs[0].logprobs is not None:
            top = [{token: found.logprob for token, found in place.items()} for place in ended.outputs[0].logprobs]
            output.extra_fields |= {"entropies": lower_bounds(top, TOP), "entropy_estimator": "topk"}
        return output


class TopLogprobsReplica(vLLMReplica):  # type: ignore[misc]
    """verl's replica with this server."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.server_class = ray.remote(TopLogprobsServer)
