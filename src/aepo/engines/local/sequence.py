"""What the engine knows of one growing sequence, and of one request to sample from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from aepo.engines.stopping import Stopping


@dataclass(eq=False)
class LocalSequence:
    """A handle; only `LocalGenerator` changes it.

    Attributes:
        tokens: Given and sampled ids.
        noise: The key of its random numbers.
        order: Number of the sequence in the order of opening.
        slot: Its place in the cache; another's if it has ended and `cached` is 0.
        cached: Leading tokens whose keys and values are in the cache.
        starts: Where its turns begin: its lengths after it was given tokens, not empty.
        ended: Nothing will be sampled from it any more.
        closed: It holds nothing any more.
    """

    tokens: list[int]
    noise: int
    order: int
    slot: int
    cached: int = 0
    starts: list[int] = field(default_factory=lambda: [0])
    ended: bool = False
    closed: bool = False

    @property
    def length(self) -> int:
        """Tokens it holds, sampled and given."""
        return len(self.tokens)

    @property
    def uncached(self) -> int:
        """Tokens that the model has yet to read."""
        return len(self.tokens) - self.cached


@dataclass(eq=False)
class SampleRequest:
    """One `sample` call under way.

    Attributes:
        sequence: What it samples from.
        limit: Length at which it ends unless it stopped.
        stopping: When it stops.
        done: Set at the end.
        waited: Model calls it has waited for since it has several tokens to read.
        error: What went wrong in the engine.
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
