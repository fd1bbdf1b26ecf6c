"""The sequences of one question in the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aepo.rollout.generator import Generator, GrowingSequence


class Sequences:
    """Opens the sequences of a question's paths and closes all of them together, so that each can be forked till then.

    Attributes:
        noise: Gives the random key of a path from its number.
    """

    def __init__(self, generator: Generator, noise: Callable[[int], int]) -> None:
        """Nothing is open."""
        self.noise = noise
        self._generator = generator
        self._open: list[GrowingSequence] = []

    @property
    def first(self) -> GrowingSequence:
        """That of the first path."""
        return self._open[0]

    def open(self, prompt: Sequence[int]) -> GrowingSequence:
        """The sequence of the first path."""
        self._open.append(self._generator.open(prompt, self.noise(0)))
        return self._open[-1]

    def fork(self, sequence: GrowingSequence, length: int, path: int) -> GrowingSequence:
        """The sequence of the path with this number, which begins with `length` tokens of another one."""
        self._open.append(self._generator.fork(sequence, length, self.noise(path)))
        return self._open[-1]

    def end(self, sequence: GrowingSequence) -> None:
        """Let the engine know that a path has ended; it can still be forked."""
        self._generator.end(sequence)

    def close(self) -> None:
        """Close all."""
        sequences, self._open = self._open, []
        for sequence in sequences:
            self._generator.close(sequence)
