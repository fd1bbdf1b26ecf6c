"""Sequences over verl's rollout servers, tokens in and out; a fork is a copy, its prefix in a server's cache."""

from __future__ import annotations

import uuid
from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aepo.engines.stopping import Stopping
from aepo.rollout.generator import Sampled, Sequence, Stop


@dataclass
class ServedSequence:
    """A sequence's tokens, and where tokens were given after which a turn may begin."""

    tokens: list[int]
    starts: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens it holds."""
        return len(self.tokens)


class ServedGenerator:
    """Grows the sequences of one question on one rollout server (the `Generator` protocol).

    The server draws the tokens: noise keys are not used, so a run is not repeated token by token.

    Attributes:
        entropy_estimator: What the servers gave last: "full" or "topk" where they say so, else "sampled".
        versions: Steps whose weights sampled.

    Args:
        client: verl's `LLMServerClient`.
        sampling: Its sampling parameters.
        stopping: What ends a turn.
    """

    max_sequences = 1 << 30

    def __init__(self, client: Any, sampling: dict[str, Any], stopping: Stopping) -> None:
        self.client, self.sampling, self.stopping = client, sampling, stopping
        self.entropy_estimator = "sampled"
        self.versions: set[int] = set()
        # Requests of one name go to one server, which has the shared prefix in its cache.
        self._name = uuid.uuid4().hex

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def open(self, tokens: Tokens[int], noise: int) -> ServedSequence:
        """Begin a sequence with given tokens."""
        return ServedSequence(list(tokens), [len(tokens)])

    def extend(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """Append given tokens."""
        own = _own(sequence)
        own.tokens.extend(tokens)
        own.starts.append(own.length)

    async def sample(self, sequence: Sequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append up to `max_tokens` sampled tokens.

        Raises:
            RuntimeError: The server gave no token.
        """
        own = _own(sequence)
        wanted = {"max_tokens": max_tokens, "logprobs": True, "stop_token_ids": sorted(stop.tokens)}
        if stop.strings:
            wanted |= {"stop": list(stop.strings), "include_stop_str_in_output": True}
        output = await self.client.generate(
            self._name, prompt_ids=list(own.tokens), sampling_params={**self.sampling, **wanted}
        )
        if not output.token_ids or output.log_probs is None:
            raise RuntimeError(f"a rollout server gave no tokens (it says: {output.stop_reason})")
        self.versions |= {v for v in (output.extra_fields.get("global_steps"),) if v is not None}
        count, stopped = self._turn(own, list(output.token_ids)[:max_tokens])
        logprobs = [float(value) for value in output.log_probs[:count]]
        entropies = output.extra_fields.get("entropies")
        self.entropy_estimator = output.extra_fields.get("entropy_estimator", "sampled")
        return Sampled(
            own.tokens[-count:], logprobs, [-p for p in logprobs] if entropies is None else entropies[:count], stopped
        )

    def _turn(self, own: ServedSequence, new: list[int]) -> tuple[int, bool]:
        """Append tokens up to the first that ends the turn; how many, and whether one did.

        A server sees only what it sampled itself: a stop string that began in an earlier request is found here.
        """
        begin = max(start for start in own.starts if start <= own.length)
        for number, token in enumerate(new, 1):
            own.tokens.append(token)
            if token in self.stopping.suspects and self.stopping.met(own.tokens[begin:]):
                return number, True
        return len(new), False

    def fork(self, sequence: Sequence, length: int, noise: int) -> ServedSequence:
        """A new sequence with the first `length` tokens of `sequence`."""
        own = _own(sequence)
        return ServedSequence(own.tokens[:length], [start for start in own.starts if start <= length])

    def end(self, sequence: Sequence) -> None:
        """Nothing is held on a server between requests."""

    def close(self, sequence: Sequence) -> None:
        """Nothing is held on a server between requests."""

    def pause(self) -> None:
        """Weights change between steps only, when nothing is sampled."""

    def resume(self) -> None:
        """As `pause`."""


def _own(sequence: Sequence) -> ServedSequence:
    assert isinstance(sequence, ServedSequence)
    return sequence
