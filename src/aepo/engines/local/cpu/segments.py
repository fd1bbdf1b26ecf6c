"""The pairs of a trie that see each other, as rectangles, and which of them share a kernel call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from aepo.core.trie import segments

CALL_COST = 2048
"""What a kernel call costs, in pairs of query and key that could be computed meanwhile."""


class Block(NamedTuple):
    """Queries that see the same keys.

    Attributes:
        level: 0 for a segment's tokens, which see each other causally; else the number of segments up to the one whose
            tokens are seen. No token is asked for twice in a level.
        query: First of the queries.
        queries: How many.
        key: First of the keys.
        keys: How many.
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
    """Which blocks share a call: each joins the group whose padded work it raises least, if that is under `CALL_COST`.

    Largest first, and level by level.
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
