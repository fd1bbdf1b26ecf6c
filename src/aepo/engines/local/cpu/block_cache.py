"""A cache in blocks, because on a CPU attention reads a contiguous piece in half the time of a strided view.

Each layer holds two tensors (blocks, slots, heads, BLOCK, head_dim): position p of a slot lies in block p // BLOCK. A
decode step reads the first slots of the first blocks where they lie (`row_attention`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aepo.engines.local.cache import CacheCall, RowCache, RowLayer

BLOCK = 64
"""Positions of a block: few enough that little is read in vain, many enough that there are few calls."""


class BlockLayer(RowLayer):
    """One layer's keys and values."""

    cache: BlockCache

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """As in `RowLayer`; a decode step gets the new keys and values, marked with this layer, for `row_attention`."""
        if self.cache.call.slots is not None:
            return super().update(key_states, value_states)
        self.reserve(key_states, value_states)
        self._write(self.keys, key_states)
        self._write(self.values, value_states)
        key_states.row_layer = self  # type: ignore[attr-defined]
        return key_states, value_states


class BlockCache(RowCache):
    """A `RowCache` in blocks.

    Attributes:
        rows_in_block: In a decode step, how many leading rows read each block.
    """

    layer_type = BlockLayer

    def __init__(self, layers: int, slots: int, length: int, block: int = BLOCK) -> None:
        self.block, self.blocks = block, 0
        super().__init__(layers, slots, length)
        self.length = 0

    def begin(self, call: CacheCall) -> None:
        """Set what the next forward pass does."""
        super().begin(call)
        self._read: dict[tuple[int, int], Tensor] = {}
        self.rows_in_block = [
            1 + max(row for row, read in enumerate(call.read) if read > start)
            for start in range(0, max(call.read, default=0), self.block)
        ]

    def reserve(self, slots: int, length: int) -> None:
        """Make room. Slots double and positions grow by half, up to the limits and to the end of a block."""
        blocks = -(-length // self.block)
        if blocks > self.blocks:
            self.blocks = min(max(blocks, self.blocks * 3 // 2), -(-self.most_length // self.block))
            self.length = self.blocks * self.block
        super().reserve(slots, length)

    def shape(self, heads: int, size: int) -> tuple[int, ...]:
        """The shape of a layer's keys or values, as far as memory is reserved."""
        return self.blocks, self.slots, heads, self.block, size

    def place(self, heads: int, head: Tensor, slot: Tensor, position: Tensor) -> Tensor:
        """The row that holds a position if a layer is read as (rows, head_dim); the arguments are broadcast."""
        first = (position // self.block * self.slots + slot) * heads
        return (first + head) * self.block + position % self.block

    def read(self, heads: int, pairs: int) -> Tensor:
        """(R * heads, length) int32: the row of a layer that holds each position, of each query head.

        It is for a decode step. Positions after the row's own get the place of its first one, which is read anyway, so
        that no further memory is fetched. Their weight is 0.
        """
        if (heads, pairs) not in self._read:
            positions = self.call.positions
            position = torch.arange(self.call.length, device=positions.device)
            position = torch.where(position <= positions, position, 0)[:, None]
            slot = torch.arange(len(positions), device=positions.device)[:, None, None]
            pair = torch.arange(heads, device=positions.device)[:, None] // (heads // pairs)
            self._read[heads, pairs] = self.place(pairs, pair, slot, position).flatten(0, 1).int()
        return self._read[heads, pairs]

    def rows(self, of: Tensor) -> Tensor:
        """(R, heads, length, head_dim) of the call's rows; a view where one block holds them."""
        call = self.call
        blocks = -(-call.length // self.block)
        if blocks == 1:
            part = of[0, : len(call.positions)] if call.slots is None else of[0, call.slots]
            return part[:, :, : call.length]
        part = of[:blocks, : len(call.positions)] if call.slots is None else of[:blocks, call.slots]
        return part.permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, : call.length]

    def part(self, of: Tensor, start: int, length: int) -> Tensor:
        """(slots, blocks, ...): a view of the blocks with positions `start` to `length`."""
        first, last = start // self.block, -(-length // self.block)
        return of[first:last, :, :, : min(length, self.block)].transpose(0, 1)

    def release(self) -> None:
        """Do nothing, because a CPU's memory is kept for the next rollout."""
