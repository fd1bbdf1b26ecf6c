"""Divides the pairs of a trie that see each other into rectangles, and chooses which of them share a kernel call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from aepo.core.trie import segments

CALL_COST = 2048
"""The cost of a kernel call, in pairs of query and key that could be computed in the same time."""


class Block(NamedTuple):
    """Queries that see the same keys.

    Attributes:
        level: 0 for a segment's tokens, which see each other causally; else the number of segments up to the one whose
            tokens are seen. In a level, each query occurs at most once.
        query: The index of the first query.
        queries: The number of queries.
        key: The index of the first key.
        keys: The number of keys.
    """

    level: int
    query: int
    queries: int
    key: int
    keys: int


def blocks(until_N: Tensor) -> list[Block]:
    """The pairs of a trie that see each other, each once."""
    found = []
    above: list[int] = []
    for start, end, until in segments(until_N):
        while above and above[-1] <= start:
            above.pop()
        found.append(Block(0, start, end - start, start, end - start))
        if until > end:
            above.append(until)
            found.append(Block(len(above), end, until - end, start, end - start))
    return found


def grouped(found: Sequence[Block]) -> list[list[Block]]:
    """Group the blocks that share a call.

    A block joins the group whose padded work grows least, if that is under `CALL_COST`. Levels are grouped apart, and
    in each the largest blocks come first.
    """
    groups: list[tuple[list[Block], int, int]] = []
    for block in sorted(found, key=lambda b: (b.level, -b.queries * b.keys, b)):
        least, best = block.queries * block.keys + CALL_COST, -1
        for at, (group, queries, keys) in enumerate(groups):
            if group[0].level == block.level:
                wide, long = max(queries, block.queries), max(keys, block.keys)
                raised = wide * long * (len(group) + 1) - queries * keys * len(group)
                if raised < least:
                    least, best = raised, at
        if best < 0:
            groups.append(([block], block.queries, block.keys))
        else:
            group, queries, keys = groups[best]
            groups[best] = ([*group, block], max(queries, block.queries), max(keys, block.keys))
    return [group for group, _, _ in groups]
