"""Finds sequences by the tokens that they have read, so that no other sequence computes these tokens again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from aepo.engines.local.sequence import LocalSequence


class ReadPrefixes:
    """Open sequences by the tokens that they had read at the end of each prompt or observation.

    Trajectories of one question often write the same call and get the same result, some of them much later than the
    first. Only prefixes that end where a sequence was given tokens are known; a key is a digest of the ids.
    """

    def __init__(self) -> None:
        self._holders: dict[bytes, LocalSequence] = {}

    def add(self, sequence: LocalSequence) -> None:
        """Remember a sequence that has just been read to its end. The first one with these tokens is their holder.

        A turn under way may be read again after the weights have changed, but it is not shared.
        """
        if sequence.starts[-1] == sequence.length:
            key = _digest(sequence.tokens)
            if self._holder(key, sequence.length) is None:
                self._holders[key] = sequence

    def find(self, sequence: LocalSequence) -> tuple[LocalSequence, int] | None:
        """An open sequence that has read more of this sequence's tokens than this one itself, and their number."""
        for length in reversed(sequence.starts):
            if length <= sequence.cached + 1:
                break
            holder = self._holder(_digest(sequence.tokens[:length]), length)
            if holder is not None:
                return holder, length
        return None

    def forget(self, sequence: LocalSequence) -> None:
        """Drop the entries of a sequence, because it is being closed."""
        for start in sequence.starts:
            key = _digest(sequence.tokens[:start])
            if self._holders.get(key) is sequence:
                del self._holders[key]

    def clear(self) -> None:
        """Drop everything."""
        self._holders.clear()

    def _holder(self, key: bytes, length: int) -> LocalSequence | None:
        """The holder of a key; None also if it has lost its slot since."""
        holder = self._holders.get(key)
        return holder if holder is not None and holder.cached >= length else None


def _digest(tokens: Sequence[int]) -> bytes:
    return hashlib.blake2b(np.asarray(tokens, dtype=np.int64).tobytes(), digest_size=16).digest()
