"""Keeps sequences as rows of a forkable cache, and reads their new tokens: it lays them out and makes the mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from aepo.engines.local.cache import CacheCall
from aepo.engines.local.forward import Forward
from aepo.engines.local.schedule import CHUNK
from aepo.engines.local.sequence import LocalSequence

Moves = Callable[[Sequence[LocalSequence | None], Sequence[LocalSequence]], list[tuple[int, int]]]
"""(table, rows to be sampled) -> moves (from slot, to slot) that bring the rows to the front (`schedule`)."""


class RowTable:
    """Holds sequences by their slot in the cache, and reads their new tokens.

    An ended sequence keeps its slot, so that it can be copied, until a growing one needs it. The sequence that ended
    first loses its slot first.

    Attributes:
        call_tokens: The largest number of padded tokens that one prefill call should have.

    Args:
        forward: Reads tokens; its cache says how many sequences may grow at once and how long they may be.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward, self._cache, self._device = forward, forward.cache, forward.device
        self.call_tokens = forward.call_tokens
        self._table: list[LocalSequence | None] = []
        self._ended: dict[LocalSequence, None] = {}

    def __iter__(self) -> Iterator[LocalSequence]:
        return (row for row in self._table if row is not None)

    def add(self, tokens: list[int], noise: int, order: int, starts: list[int]) -> LocalSequence:
        """Add a new, unread sequence in the first free slot, or in the slot of an ended one.

        Raises:
            RuntimeError: All slots belong to sequences that grow.
        """
        new = LocalSequence(tokens, noise, starts, order, self._slot())
        self._table[new.slot] = new
        return new

    def fork(self, source: LocalSequence, length: int, noise: int, order: int, starts: list[int]) -> LocalSequence:
        """Add a sequence with the first `length` tokens of `source`, and copy what was read of all but the last one.

        Raises:
            RuntimeError: All slots belong to sequences that grow.
        """
        read = min(source.cached, length - 1)
        new = self.add(source.tokens[:length], noise, order, starts)
        if new.slot == source.slot:  # the keys and values of the source are there already
            new.cached = read
        else:
            self.copy(source, new, read)
        return new

    def end(self, row: LocalSequence) -> None:
        """Mark a sequence as ended, so that others may take its slot."""
        self._ended[row] = None

    def remove(self, row: LocalSequence) -> None:
        """Free the slot of a sequence, if it still has one."""
        self._ended.pop(row, None)
        if self._table[row.slot] is row:
            self._table[row.slot] = None

    def clear(self) -> None:
        """Free every slot."""
        self._table.clear()
        self._ended.clear()

    def forget_weights(self) -> None:
        """Mark all sequences as unread, because their keys and values do not fit the next weights."""
        for row in self:
            row.cached = 0

    def new_weights(self) -> None:
        """Read the model's current weights."""
        self._forward.refresh()

    def release(self) -> None:
        """Free the cache's memory, unless it is a CPU's."""
        self._cache.release()

    def copy(self, source: LocalSequence, target: LocalSequence, length: int) -> None:
        """Copy the first `length` keys and values of `source` to `target`; both must have the same tokens there."""
        self._cache.move([source.slot], [target.slot], length, start=target.cached)
        target.cached = length

    def decode(self, rows: list[LocalSequence], moves: Moves) -> tuple[list[LocalSequence], Tensor]:
        """Read the one unread token of each row.

        Returns:
            The rows in the order of the logits, and (R, V) logits after their last tokens.
        """
        self._arrange(rows, moves)
        count = max(row.slot for row in rows) + 1
        idle = LocalSequence([0], 0, [0], 0, 0)
        held = [row or idle for row in self._table[:count]]
        # An idle row computes an unused token and writes only beyond its cached positions.
        places = [min(row.cached, self._cache.most_length - 1) for row in held]
        last = [row.tokens[row.cached] if row.uncached else 0 for row in held]
        self._reserve(max(places) + 1)
        wanted = {row.slot for row in rows}
        read = [row.cached + 1 if slot in wanted else 0 for slot, row in enumerate(held)]
        positions = self._tensor(places)[:, None]
        call = CacheCall(None, positions, length=max(read), read=read)
        seen = torch.arange(call.length, device=self._device) <= positions[:, :, None]
        logits = self._forward(self._tensor(last)[:, None], seen, call)
        for row in rows:
            row.cached += 1
        if len(rows) < count:
            return rows, logits[self._tensor([row.slot for row in rows])]
        return sorted(rows, key=lambda row: row.slot), logits

    def prefill(self, rows: list[LocalSequence]) -> tuple[list[LocalSequence], Tensor]:
        """Read up to `CHUNK` unread tokens of each row.

        Returns:
            The rows that have been read to their end, and (R, V) logits after their last tokens.
        """
        parts = [row.tokens[row.cached : row.cached + CHUNK] for row in rows]
        width = max(map(len, parts))
        # Padding is on the left, so that the last column has the last token of every row.
        padding = [width - len(part) for part in parts]
        ids = self._tensor([[0] * pad + part for pad, part in zip(padding, parts, strict=True)])
        pads = self._tensor(padding)[:, None]
        column = torch.arange(width, device=self._device)
        valid = column >= pads
        positions = (column - pads + self._tensor([row.cached for row in rows])[:, None]).clamp_(min=0)
        ends = [row.cached + len(part) for row, part in zip(rows, parts, strict=True)]
        self._reserve(max(ends))
        if any(row.cached for row in rows):
            length = max(ends)
            seen = torch.arange(length, device=self._device) <= positions[:, :, None]
        else:
            length = 0
            seen = (column <= column[:, None]) & valid[:, None]
            # A padding query must see some key, because a softmax over no keys is NaN, and NaN * 0 is NaN.
            seen |= torch.eye(width, dtype=torch.bool, device=self._device)
        slots = self._tensor([row.slot for row in rows])
        logits = self._forward(ids, seen, CacheCall(slots, positions, valid if any(padding) else None, length))
        for row, end in zip(rows, ends, strict=True):
            row.cached = end
        read = [i for i, row in enumerate(rows) if not row.uncached]
        return [rows[i] for i in read], logits[self._tensor(read)]

    def _slot(self) -> int:
        slot = next((i for i, held in enumerate(self._table) if held is None), len(self._table))
        if slot == len(self._table) and slot < self._cache.most_slots:
            self._table.append(None)
            self._reserve(0)
        elif slot == len(self._table):
            first = next(iter(self._ended), None)
            if first is None:
                raise RuntimeError(f"{slot} sequences grow, no more are allowed: end some or raise max_sequences")
            del self._ended[first]
            first.cached, slot = 0, first.slot
        return slot

    def _arrange(self, rows: list[LocalSequence], moves: Moves) -> None:
        found = moves(self._table, rows)
        if not found:
            return
        moving = [(self._table[source], target) for source, target in found]
        longest = max(row.cached for row, _ in moving if row is not None)
        self._cache.move([source for source, _ in found], [target for _, target in found], longest)
        for source, _ in found:
            self._table[source] = None
        for row, target in moving:
            assert row is not None
            row.slot = target
            self._table[target] = row

    def _reserve(self, length: int) -> None:
        self._cache.reserve(len(self._table), length)

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)
