"""What the explorer asks of an engine: sequences that grow, fork and end.

An engine is entered as an async context manager for the time of a rollout. It batches whatever sequences are being
sampled at the moment; who waits for a tool or a decision costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True)
class Stop:
    """When a turn ends: after a token of `tokens`, or once the turn's text contains one of `strings`.

    A token that completes a string is kept whole, whatever follows the string inside it.
    """

    tokens: frozenset[int] = frozenset()
    strings: tuple[str, ...] = ()


NOTHING = Stop()
"""Ends no turn."""


@dataclass(frozen=True)
class Sampled:
    """Newly sampled tokens of one sequence.

    Attributes:
        tokens: Ids; the one that met the stop condition included.
        logprobs: ln p of each at the sampling temperature, over the full vocabulary; empty if the estimator is "none".
        entropies: Nats, per `Generator.entropy_estimator`; empty if that is "none".
        stopped: True if the stop condition was met, False if `max_tokens` was reached.
        reference_entropies: -sum p ln p over the ten likeliest tokens, in nats; empty unless the engine was told to
            record it (for `entropy_scale: reference`).
        version: Of the weights that gave the last of the tokens (`Sampler.version`); None where nobody counts them.
    """

    tokens: list[int]
    logprobs: list[float]
    entropies: list[float]
    stopped: bool
    reference_entropies: list[float] = field(default_factory=list)
    version: int | None = None


class Sequence(Protocol):
    """A handle to one growing sequence; only its engine looks inside."""

    @property
    def length(self) -> int:
        """Tokens it holds, sampled and given."""
        ...


class Generator(Protocol):
    """An engine that grows many sequences at once.

    `noise` is a 64-bit key that is unique to a path: the token at position t of a sequence is a function of the model,
    the tokens before it, the key and t, up to rounding that differs with the rows of a batch.
    """

    entropy_estimator: str
    """"full", "topk" (a lower bound), "sampled" (-logprob), or "none" for an engine that does not tell."""

    max_sequences: int
    """How many may be open at once."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def open(self, tokens: Tokens[int], noise: int) -> Sequence:
        """Begin a sequence with given tokens."""
        ...

    def extend(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """Append given tokens, e.g. a tool's result."""
        ...

    async def sample(self, sequence: Sequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append up to `max_tokens` sampled tokens.

        Stop strings are matched against the turn: all that was sampled since the sequence was last given tokens.
        """
        ...

    def fork(self, sequence: Sequence, length: int, noise: int) -> Sequence:
        """A new sequence with the first `length` tokens of `sequence`, nothing of them computed again.

        Where that is inside a turn, the turn goes on: stop strings are matched against all of it.
        """
        ...

    def end(self, sequence: Sequence) -> None:
        """Nothing will be sampled from it any more; it can still be forked."""
        ...

    def close(self, sequence: Sequence) -> None:
        """Free what it holds."""
        ...

    def pause(self) -> None:
        """Sample nothing until `resume`, so that the weights may change; all else goes on, and nothing is closed."""
        ...

    def resume(self) -> None:
        """Go on, with the weights as they are now: what is open is read again before more of it is sampled."""
        ...
