"""The interface of an engine: sequences that grow, fork and end.

An engine is entered as an async context manager for the time of a rollout. It batches the sequences that are being
sampled at the moment. A sequence that waits for a tool costs no computing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True)
class Stop:
    """The end of a turn: a token of `tokens`, or the first of `strings` that the turn's text contains.

    A token that completes a string is kept whole, with any text after the string.
    """

    tokens: frozenset[int] = frozenset()
    strings: tuple[str, ...] = ()


NOTHING = Stop()
"""No condition: a turn ends at `max_tokens` only."""


@dataclass(frozen=True)
class Sampled:
    """Newly sampled tokens of one sequence.

    Attributes:
        tokens: The ids, the one that met the stop condition included.
        logprobs: ln p of each at the sampling temperature, over the full vocabulary; empty if the estimator is "none".
        entropies: The entropies in nats, by `Generator.entropy_estimator`; empty if that is "none".
        stopped: True if the stop condition was met, False if `max_tokens` was reached.
        reference_entropies: -sum p ln p over the ten likeliest tokens, in nats, for `entropy_scale: reference`; empty
            unless the engine records it.
        version: The version of the weights that gave the last token (`Sampler.version`); None without versions.
    """

    tokens: list[int]
    logprobs: list[float]
    entropies: list[float]
    stopped: bool
    reference_entropies: list[float] = field(default_factory=list)
    version: int | None = None


@dataclass(frozen=True)
class GeneratorSettings:
    """How an engine samples.

    Attributes:
        temperature: T > 0, the temperature of sampling, log-probabilities and entropies.
        max_sequences: The number of sequences that may grow at once; ended and closed ones do not count.
        max_length: The number of tokens that a sequence may hold.
        deterministic: Call the model only when all sequences that were not ended are being sampled, with rows in
            the order of their noise keys. Then batches, and so roundings, do not depend on how long paths wait for
            tools. Open all sequences that start together before sampling from the first.
        greedy: Take the likeliest token; log-probabilities and entropies stay those at T.
        reference_entropy: Also record -sum p ln p over the ten likeliest tokens.
        entropies_within: Only the entropies of requests for at most this many tokens are read; None means all. For
            other requests an engine may give -ln p of the sampled token, whose mean is the entropy, to save work.

    Raises:
        ValueError: The temperature is not above 0.
    """

    temperature: float = 1.0
    max_sequences: int = 128
    max_length: int = 1024
    deterministic: bool = False
    greedy: bool = False
    reference_entropy: bool = False
    entropies_within: int | None = None

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"temperature is {self.temperature}, it must be above 0; greedy=True takes the likeliest token"
            )


USUAL = GeneratorSettings()


class TooLong(ValueError):
    """Sequences of `max_length` tokens do not fit the model, or its server."""


class GrowingSequence(Protocol):
    """The handle of one growing sequence; all but its length is for its engine only."""

    @property
    def length(self) -> int:
        """Number of its tokens, sampled and given."""
        ...


class Generator(Protocol):
    """An engine that grows many sequences at once.

    `noise` is a 64-bit key that is unique to a path. The token at position t of a sequence is a function of the model,
    the tokens before it, the key and t, up to rounding that differs with the rows of a batch.

    Examples:
        An engine that samples the tokens 0 and 1 with equal probability:

        >>> import math
        >>> import anyio
        >>> from aepo.core.noise import uniform
        >>> @dataclass
        ... class Flips:
        ...     tokens: list[int]
        ...     noise: int
        ...
        ...     @property
        ...     def length(self):
        ...         return len(self.tokens)
        >>> class Coin(Generator):
        ...     entropy_estimator = "full"
        ...     max_sequences = 64
        ...
        ...     async def __aenter__(self):
        ...         return self
        ...
        ...     def open(self, tokens, noise):
        ...         return Flips(list(tokens), noise)
        ...
        ...     def extend(self, sequence, tokens):
        ...         sequence.tokens += tokens
        ...
        ...     async def sample(self, sequence, max_tokens, stop):
        ...         new = []
        ...         while len(new) < max_tokens and not stop.tokens.intersection(new):
        ...             new.append(int(uniform(sequence.noise, sequence.length) < 0.5))
        ...             sequence.tokens.append(new[-1])
        ...         nats = [math.log(2)] * len(new)
        ...         return Sampled(new, [-h for h in nats], nats, bool(stop.tokens.intersection(new)))
        ...
        ...     def fork(self, sequence, length, noise):
        ...         return Flips(sequence.tokens[:length], noise)
        >>> async def rollout():
        ...     async with Coin() as coin:
        ...         path = coin.open([7], noise=1)
        ...         turn = await coin.sample(path, max_tokens=20, stop=Stop(tokens=frozenset({1})))
        ...         branch = coin.fork(path, length=1, noise=2)
        ...         await coin.sample(branch, max_tokens=4, stop=NOTHING)
        ...         return turn.tokens[-1], turn.stopped, branch.length
        >>> anyio.run(rollout)
        (1, True, 5)
    """

    entropy_estimator: str
    """"full", "topk" (a lower bound), "sampled" (-logprob), or "none" if there is no entropy."""

    max_sequences: int
    """The largest number of growing sequences. Ended ones do not count, but can be forked until they are closed."""

    deterministic: bool = False
    """Whether it calls the model only when all sequences that were not ended are being sampled."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def open(self, tokens: Sequence[int], noise: int) -> GrowingSequence:
        """Begin a sequence with these tokens."""
        ...

    def extend(self, sequence: GrowingSequence, tokens: Sequence[int]) -> None:
        """Append tokens that are not sampled, e.g. a tool's result."""
        ...

    async def sample(self, sequence: GrowingSequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append up to `max_tokens` sampled tokens.

        Stop strings are matched against the turn: all tokens sampled since the last `open` or `extend`.
        """
        ...

    def fork(self, sequence: GrowingSequence, length: int, noise: int) -> GrowingSequence:
        """A new sequence with the first `length` tokens of `sequence`.

        The tokens are not computed again, unless `sequence` has ended and the engine gave its memory to others since.
        If they end inside a turn, the turn goes on, and stop strings are matched against all of it.
        """
        ...

    def end(self, sequence: GrowingSequence) -> None:
        """Sample no more tokens of the sequence, and free its room; it can still be forked."""
        ...

    def close(self, sequence: GrowingSequence) -> None:
        """Free the sequence."""
        ...

    def pause(self) -> None:
        """Stop sampling until `resume`, so that the weights may change. All sequences stay open."""
        ...

    def resume(self) -> None:
        """Go on with the current weights. Open sequences are read again before more tokens are sampled."""
        ...
