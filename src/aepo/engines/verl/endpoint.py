"""Asks a rollout server by its HTTP interface, which gives the likeliest tokens; verl's own call does not.

verl hands weights to a server between steps, when nothing is sampled. A reply over HTTP does not say which weights
sampled it. So the server's process is asked for its version before and after. If the version changed, or the server
aborted the request, the request is sent again from its prompt on.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import anyio
from verl.workers.rollout.replica import TokenOutput

from aepo.engines.openai.client import Client, Endpoint, ServerError
from aepo.engines.openai.dialect import GivenUp, Wanted
from aepo.engines.openai.drawn import drawn
from aepo.engines.openai.entropies import lower_bounds
from aepo.engines.openai.probe import Served
from aepo.engines.verl.client import SteadyClient
from aepo.engines.verl.process import version
from aepo.rollout.generator import Stop

PATIENCE = 3600.0
"""Seconds for one reply; busy servers queue requests."""


def endpoint(server: str) -> Endpoint:
    """The HTTP interface of a rollout server, by verl's name of it."""
    return Endpoint(f"http://{server}/v1", timeout=PATIENCE, direct=True)


class EndpointClient(SteadyClient):
    """verl's client, with a lower bound of each token's entropy in its replies.

    Args:
        served: The model and interface of each server, by its name.
        concurrency: Requests of this process to a server at once.
        others: The arguments of verl's client.
    """

    estimator = "topk"

    def __init__(self, *others: Any, served: Mapping[str, Served], concurrency: int, **named: Any) -> None:
        super().__init__(*others, **named)
        self.served, self.concurrency = served, concurrency
        self._links: dict[str, Client] = {}

    async def _ask(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any], **more: Any
    ) -> TokenOutput:
        request = {"prompt_ids": prompt_ids, "sampling_params": sampling_params, **more}
        server, handle = await self._acquire_server(request_id, **request)
        try:
            while True:
                before = await handle.__ray_call__.remote(version)
                output = await self._drawn(server, handle, wanted(self.served[server], prompt_ids, sampling_params))
                if output is not None and await handle.__ray_call__.remote(version) == before:
                    output.extra_fields["global_steps"] = before
                    return output
                await anyio.sleep(1)
        finally:
            self._release_server(server, request_id=request_id)

    async def _drawn(self, server: str, handle: Any, what: Wanted) -> TokenOutput | None:
        """The tokens; None if the server aborted the request.

        Raises:
            RayActorError: The server has died.
            ServerError: It does not answer as at the start.
        """
        if server not in self._links:
            # The connection stays open until the process ends.
            self._links[server] = await Client(endpoint(server), self.concurrency).__aenter__()
        try:
            reply = await drawn(self._links[server], self.served[server].dialect, what)
        except GivenUp:
            return None
        except ServerError:
            await handle.__ray_call__.remote(version)
            raise
        bounds = lower_bounds(reply.top, what.top or 0)
        return TokenOutput(token_ids=reply.tokens, log_probs=reply.logprobs, extra_fields={"entropies": bounds})


def wanted(served: Served, prompt: list[int], sampling: Mapping[str, Any]) -> Wanted:
    """The request to the server with verl's sampling parameters.

    Raises:
        ValueError: They restrict sampling to a part of the distribution.
    """
    for name, whole in {"top_p": (1,), "top_k": (-1, 0), "repetition_penalty": (1,)}.items():
        if sampling.get(name, whole[0]) not in whole:
            raise ValueError(f"verl.entropy_source endpoint cannot have {name} {sampling[name]}: leave it out")
    greedy = sampling["temperature"] == 0
    return Wanted(
        served.model,
        prompt,
        sampling["max_tokens"],
        temperature=1.0 if greedy else sampling["temperature"],
        greedy=greedy,
        seed=secrets.randbits(31),
        stop=Stop(frozenset(sampling["stop_token_ids"]), tuple(sampling.get("stop", ()))),
        top=served.top,
    )
