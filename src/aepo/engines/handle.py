"""The record of a growing sequence, and what every engine refuses of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class Handle:
    """The handle of a sequence; only its engine changes it.

    Attributes:
        tokens: Given and sampled ids.
        noise: The key of its random numbers.
        starts: The starts of its turns, which are its lengths after it was given tokens; not empty.
        ended: True if no more tokens will be sampled from it.
        closed: True if its memory is free.
    """

    tokens: list[int]
    noise: int
    starts: list[int]
    ended: bool = field(default=False, kw_only=True)
    closed: bool = field(default=False, kw_only=True)

    @property
    def length(self) -> int:
        """Number of its tokens, sampled and given."""
        return len(self.tokens)

    def refuse(self, what: str, sampling: bool) -> None:
        """Raise an error if it has ended or is being sampled, because then it cannot be `what`, e.g. "extended".

        Raises:
            RuntimeError: It was ended or closed, or is being sampled.
        """
        if self.ended:
            raise RuntimeError(f"a sequence that was {'closed' if self.closed else 'ended'} cannot be {what}")
        if sampling:
            raise RuntimeError(f"a sequence that is being sampled cannot be {what}")

    def starts_of_fork(self, length: int) -> list[int]:
        """The starts of the turns of a fork with the first `length` tokens.

        Raises:
            ValueError: `length` is not within the sequence.
            RuntimeError: The sequence was closed.
        """
        if self.closed:
            raise RuntimeError("a closed sequence cannot be forked")
        if not 1 <= length <= self.length:
            raise ValueError(f"cannot fork after {length} tokens of a sequence of {self.length}")
        # A fork inside the prompt begins a new turn.
        return [start for start in self.starts if start <= length] or [length]
