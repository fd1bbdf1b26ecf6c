"""Samples a turn in parts, so that the sampled tokens are kept when the time is over."""

from __future__ import annotations

from collections.abc import Callable

from aepo.rollout.generator import Generator, GrowingSequence, Sampled, Stop

PART = 256
"""A trajectory with a limit on seconds reads the clock after so many tokens."""


async def sample_until(
    generator: Generator, sequence: GrowingSequence, max_tokens: int, stop: Stop, over: Callable[[], bool]
) -> Sampled:
    """Sample as `Generator.sample` does, in parts of `PART` tokens, and end after the part in which the time was over.

    A cancelled call of the engine would leave tokens in the sequence whose log-probabilities are lost.

    Args:
        generator: The engine.
        sequence: A sequence of the engine.
        max_tokens: The largest number of tokens.
        stop: The end of a turn.
        over: Whether the time is over.
    """
    found = Sampled([], [], [], False)
    while True:
        part = await generator.sample(sequence, min(PART, max_tokens - len(found.tokens)), stop)
        found = joined(found, part)
        if part.stopped or not part.tokens or len(found.tokens) == max_tokens or over():
            return found


def joined(a: Sampled, b: Sampled) -> Sampled:
    """Join two parts that were sampled one after the other."""
    return Sampled(
        a.tokens + b.tokens,
        a.logprobs + b.logprobs,
        a.entropies + b.entropies,
        b.stopped,
        a.reference_entropies + b.reference_entropies,
        b.version,
    )
