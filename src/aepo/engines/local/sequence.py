"""The engine's record of one growing sequence, and of one request to sample from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from aepo.engines.handle import Handle
from aepo.engines.stopping import Stopping


@dataclass(eq=False)
class LocalSequence(Handle):
    """The handle of a sequence in this process, which has its keys and values in a slot of the cache.

    Attributes:
        order: The number of the sequence in the order of opening.
        slot: Its slot in the cache; another sequence has it if this one has ended and `cached` is 0.
        cached: The number of leading tokens whose keys and values are in the cache.
    """

    order: int
    slot: int
    cached: int = 0

    @property
    def uncached(self) -> int:
        """Number of its tokens that the model has not read."""
        return len(self.tokens) - self.cached


@dataclass(eq=False)
class SampleRequest:
    """One `sample` call under way.

    Attributes:
        sequence: The sequence that it samples from.
        limit: The length of the sequence at which it ends at the latest.
        stopping: The prepared stop condition.
        done: Set when the request has ended.
        waited: The number of model calls that it has waited since it has several tokens to read.
        error: The error of the engine; None without one.
    """

    sequence: LocalSequence
    limit: int
    stopping: Stopping
    done: anyio.Event = field(default_factory=anyio.Event)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    reference_entropies: list[float] = field(default_factory=list)
    stopped: bool = False
    waited: int = 0
    error: Exception | None = None

    def append(self, token: int, logprob: float, entropy: float) -> bool:
        """Add a sampled token; True if the request has ended."""
        tokens = self.sequence.tokens
        tokens.append(token)
        self.logprobs.append(logprob)
        self.entropies.append(entropy)
        if token in self.stopping.suspects and self.stopping.met(tokens[self.sequence.starts[-1] :]):
            self.stopped = True
        return self.stopped or len(tokens) >= self.limit
