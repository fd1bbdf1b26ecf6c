"""An engine that pays for each turn from a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from aepo.rollout.agent import Agent
from aepo.rollout.generator import Generator, GrowingSequence, Sampled, Stop
from aepo.solving.meter import Meter


class MeteredGenerator:
    """A `Generator` that asks a meter before each turn.

    Args:
        engine: The engine that samples.
        meter: Pays for turns.
        ended: Called after a sequence has ended.
    """

    def __init__(self, engine: Generator, meter: Meter, ended: Callable[[], None]) -> None:
        self.engine, self.meter, self.ended = engine, meter, ended
        self._numbers: dict[int, int] = {}
        self._begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)  # all other methods are free

    def open(self, tokens: Sequence[int], noise: int) -> GrowingSequence:
        """Begin a sequence with these tokens."""
        return self._begins(self.engine.open(tokens, noise))

    def fork(self, sequence: GrowingSequence, length: int, noise: int) -> GrowingSequence:
        """A new sequence with the first tokens of another."""
        return self._begins(self.engine.fork(sequence, length, noise))

    async def sample(self, sequence: GrowingSequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append sampled tokens once they can be paid for; waits for ever if that never happens."""
        number, before = self._numbers[id(sequence)], sequence.length
        grant = await self.meter.reserve(number, before, max_tokens)
        try:
            sampled = await self.engine.sample(sequence, grant.tokens, stop)
        finally:
            self.meter.settle(grant, sequence.length - before)
        if len(sampled.tokens) == grant.tokens < max_tokens and not sampled.stopped:
            await self.meter.give_up(number)
        return sampled

    def end(self, sequence: GrowingSequence) -> None:
        """Tell the engine and the meter that no token of the sequence will be sampled any more."""
        self.engine.end(sequence)
        self.meter.ends(self._numbers[id(sequence)])
        self.ended()

    def close(self, sequence: GrowingSequence) -> None:
        """Free the sequence."""
        self.engine.close(sequence)
        number = self._numbers.pop(id(sequence), None)
        if number is not None:
            self.meter.ends(number)

    def _begins(self, sequence: GrowingSequence) -> GrowingSequence:
        self._numbers[id(sequence)] = self._begun
        self.meter.begins(self._begun)
        self._begun += 1
        return sequence


def metered(agent: Agent, meter: Meter, ended: Callable[[], None]) -> Agent:
    """The agent, paying for its turns and calls."""
    paying = copy(agent)
    paying.generator = MeteredGenerator(agent.generator, meter, ended)
    paying.tools = {name: meter.tool(tool) for name, tool in agent.tools.items()}
    paying.by_environment = {name: metered(one, meter, ended) for name, one in agent.by_environment.items()}
    return paying
