"""Who goes into the next model call, and where rows lie: pure functions of the engine's state."""

from __future__ import annotations

from collections.abc import Sequence

from aepo.engines.local.sequence import LocalSequence, SampleRequest

# A prefill call costs about as much as a decode step of few rows, so it waits for company: for PREFILL_SHARE of the
# requests, but never longer than PREFILL_PATIENCE calls.
PREFILL_SHARE = 1 / 8
PREFILL_PATIENCE = 4
# Tokens of one sequence in one prefill call.
CHUNK = 512
# A decode step computes idle rows that lie between sampled ones; above this share of the sampled rows they are moved.
IDLE_SHARE = 1 / 8


def prefill_group(requests: Sequence[SampleRequest], eager: bool) -> list[SampleRequest]:
    """The requests to prefill now, empty for a decode step.

    Those with several unread tokens, once they are `PREFILL_SHARE` of all, or one has waited `PREFILL_PATIENCE` calls,
    or nobody can decode.

    Args:
        requests: All under way.
        eager: Never wait for company.
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
    """What one call prefills: the first requests of the group whose padded chunks fit into `limit` tokens.

    Of sequences that are equal, token for token, only the first is taken: the others copy what it has read.
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
    """Moves (from slot, to slot) after which slot i holds rows[i]; who lay there goes where a row came from."""
    wanted = {row.slot for row in rows}
    moves = [(row.slot, i) for i, row in enumerate(rows) if row.slot != i]
    vacated = sorted(slot for slot in wanted if slot >= len(rows))
    displaced = [i for i in range(len(rows)) if i not in wanted and table[i] is not None]
    return moves + list(zip(displaced, vacated, strict=False))


def compacting_moves(table: Sequence[LocalSequence | None], rows: Sequence[LocalSequence]) -> list[tuple[int, int]]:
    """As few moves as bring the rows into the first slots, in any order; none while few idle rows lie between."""
    count = len(rows)
    if max(row.slot for row in rows) + 1 - count <= IDLE_SHARE * count:
        return []
    wanted = {row.slot for row in rows}
    holes = [i for i in range(count) if i not in wanted]
    outside = sorted(slot for slot in wanted if slot >= count)
    moves = list(zip(outside, holes, strict=True))
    return moves + [(hole, slot) for slot, hole in moves if table[hole] is not None]
