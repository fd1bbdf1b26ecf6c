"""Decides which sequences the next model call reads and where rows lie, by pure functions of the engine's state."""

from __future__ import annotations

from collections.abc import Sequence

from aepo.engines.local.sequence import LocalSequence, SampleRequest

# A prefill call costs about as much as a decode step of few rows. So it waits until PREFILL_SHARE of the requests need
# it, but never longer than PREFILL_PATIENCE calls.
PREFILL_SHARE = 1 / 8
PREFILL_PATIENCE = 4
# Largest number of tokens of one sequence in one prefill call.
CHUNK = 512
# A decode step also computes idle rows that lie between sampled ones. They are moved if there are more of them than
# this share of the sampled rows.
IDLE_SHARE = 1 / 8


def prefill_group(requests: Sequence[SampleRequest], eager: bool) -> list[SampleRequest]:
    """The requests to prefill now; empty for a decode step.

    Requests with several unread tokens are prefilled once they are `PREFILL_SHARE` of all, or one of them has waited
    `PREFILL_PATIENCE` calls, or no request can decode.

    Args:
        requests: All requests under way.
        eager: Prefill at once, without waiting for more requests.
    """
    waiting = [r for r in requests if r.sequence.uncached > 1]
    if not waiting:
        return []
    if (
        eager
        or len(waiting) == len(requests)
        or len(waiting) >= PREFILL_SHARE * len(requests)
        or any(r.waited >= PREFILL_PATIENCE for r in waiting)
    ):
        return waiting
    for request in waiting:
        request.waited += 1
    return []


def prefill_batch(group: Sequence[SampleRequest], limit: int) -> list[SampleRequest]:
    """The requests that one call prefills: the first of the group whose padded chunks fit into `limit` tokens.

    Among sequences with equal tokens only the first is taken, and the others copy its keys and values.
    """
    different: dict[tuple[int, ...], SampleRequest] = {}
    for request in group:
        different.setdefault(tuple(request.sequence.tokens), request)
    batch: list[SampleRequest] = []
    widest = 0
    for request in different.values():
        widest = max(widest, min(request.sequence.uncached, CHUNK))
        if batch and widest * (len(batch) + 1) > limit:
            break
        batch.append(request)
    return batch


def exact_moves(table: Sequence[LocalSequence | None], rows: Sequence[LocalSequence]) -> list[tuple[int, int]]:
    """Moves (from slot, to slot) after which slot i holds rows[i]; a row that was there goes to a freed slot."""
    wanted = {row.slot for row in rows}
    moves = [(row.slot, i) for i, row in enumerate(rows) if row.slot != i]
    vacated = sorted(slot for slot in wanted if slot >= len(rows))
    displaced = [i for i in range(len(rows)) if i not in wanted and table[i] is not None]
    return moves + list(zip(displaced, vacated, strict=False))


def compacting_moves(table: Sequence[LocalSequence | None], rows: Sequence[LocalSequence]) -> list[tuple[int, int]]:
    """The fewest moves that bring the rows into the first slots, in any order; none while few idle rows lie between."""
    count = len(rows)
    if max(row.slot for row in rows) + 1 - count <= IDLE_SHARE * count:
        return []
    wanted = {row.slot for row in rows}
    holes = [i for i in range(count) if i not in wanted]
    outside = sorted(slot for slot in wanted if slot >= count)
    moves = list(zip(outside, holes, strict=True))
    return moves + [(hole, slot) for slot, hole in moves if table[hole] is not None]
