"""Grows sequences on verl's rollout servers. A fork is a copy whose prefix is in the server's cache."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any

from aepo.engines.remote import RemoteGenerator, RemoteSequence
from aepo.engines.stopping import Stopping
from aepo.rollout.generator import Sampled, Stop


class ServedGenerator(RemoteGenerator):
    """Grows the sequences of one question on one rollout server (the `Generator` protocol).

    The server draws the tokens and noise keys are not used, so a repeated run has other tokens.

    Attributes:
        entropy_estimator: The client's.

    Args:
        client: A client of `aepo.engines.verl.sources`.
        sampling: verl's sampling parameters.
        stopping: Prepares a stop condition.
    """

    def __init__(self, client: Any, sampling: dict[str, Any], stopping: Callable[[Stop], Stopping]) -> None:
        super().__init__(stopping, sys.maxsize, sys.maxsize)
        self.client, self.sampling = client, sampling
        self.entropy_estimator = client.estimator
        # Requests with one name go to one server, which has the shared prefix in its cache.
        self._name = uuid.uuid4().hex

    async def _draw(self, sequence: RemoteSequence, count: int, stop: Stop) -> Sampled:
        """Sample with one request.

        Raises:
            RuntimeError: The server gave no token, or not the entropies of the run's source.
        """
        wanted = {"max_tokens": count, "logprobs": True, "stop_token_ids": sorted(stop.tokens)}
        if stop.strings:
            wanted |= {"stop": list(stop.strings), "include_stop_str_in_output": True}
        output = await self.client.generate(
            self._name, prompt_ids=list(sequence.tokens), sampling_params={**self.sampling, **wanted}
        )
        if not output.token_ids or output.log_probs is None:
            raise RuntimeError(f"a rollout server gave no tokens (it says: {output.stop_reason})")
        logprobs = [float(value) for value in output.log_probs]
        entropies = [-value for value in logprobs]
        if self.entropy_estimator != "sampled":
            if "entropies" not in output.extra_fields:
                raise RuntimeError(f"a rollout server gave no entropies, which were {self.entropy_estimator!r} before")
            entropies = output.extra_fields["entropies"]
        step = output.extra_fields.get("global_steps")
        return Sampled(list(output.token_ids), logprobs, entropies, stopped=False, version=step)
