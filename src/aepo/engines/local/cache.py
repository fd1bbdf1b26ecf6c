"""A KV cache whose rows have their own lengths, can be copied onto each other, and are read without gathering.

Each layer holds two tensors (blocks, slots, heads, block, head_dim): position p of a slot lies in block p // block. A
decode step reads the first R slots of the first blocks, each of which is one contiguous piece; on a CPU that halves the
time of attention against a strided view. With one block as long as the cache, the same layout is the usual one
(slots, heads, length, head_dim).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass
class Call:
    """What one model call does to the cache.

    Attributes:
        slots: (R,) the slot of each row; None: row i is slot i.
        positions: (R, T) where each query token is written.
        valid: (R, T) bool, False on padding, which is not written; None: all are.
        length: Positions that the rows read, 0 if nothing but the call's own keys.
        rows_in_block: How many leading rows read each block, for a step that reads the blocks in place; else empty.
        copies: (rows, slots): rows whose keys and values are written to further slots too; only with `slots`.
        places: Flat row indices of the written keys, by number of heads: equal in all layers.
    """

    slots: Tensor | None
    positions: Tensor
    valid: Tensor | None = None
    length: int = 0
    rows_in_block: list[int] = field(default_factory=list)
    copies: tuple[Tensor, Tensor] | None = None
    places: dict[int, Tensor] = field(default_factory=dict)


class RowLayer(CacheLayerMixin):
    """One layer's keys and values."""

    is_sliding = False

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self.cache = cache
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: memory comes with the first update."""

    def reserve(self, key: Tensor, value: Tensor) -> None:
        """Grow to what the cache was told to hold; `key` and `value` (..., heads, ?, head_dim) give the shapes."""
        self.keys = self._grown(self.keys, key)
        self.values = self._grown(self.values, value)

    def _grown(self, old: Tensor | None, like: Tensor) -> Tensor:
        blocks, slots, block = self.cache.blocks, self.cache.slots, self.cache.block
        if old is not None and old.shape[0] >= blocks and old.shape[1] >= slots:
            return old
        # Zeros: what was never written is masked, but 0 * NaN would not vanish.
        new = like.new_zeros(blocks, slots, like.shape[-3], block, like.shape[-1])
        if old is not None:
            new[: old.shape[0], : old.shape[1]] = old
        return new

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the call's keys and values; give those that its rows may attend to.

        A step that reads in place gets back the new ones, marked with this layer, for `row_attention`.
        """
        call = self.cache.call
        self.reserve(key_states, value_states)
        self._write(self.keys, key_states, call)
        self._write(self.values, value_states, call)
        if call.length == 0:
            return key_states, value_states
        if call.rows_in_block:
            key_states.row_layer = self  # type: ignore[attr-defined]
            return key_states, value_states
        return self.rows(self.keys, call), self.rows(self.values, call)

    def _write(self, into: Tensor, states: Tensor, call: Call) -> None:
        heads = states.shape[1]
        rows = None
        if call.copies is not None:
            rows = torch.cat([torch.arange(states.shape[0], device=states.device), call.copies[0]])
        valid = call.valid if call.valid is None or rows is None else call.valid[rows]
        if heads not in call.places:
            slots = torch.arange(states.shape[0], device=states.device) if call.slots is None else call.slots
            positions = call.positions
            if call.copies is not None:
                slots, positions = torch.cat([slots, call.copies[1]]), positions[rows]
            block, offset = positions // self.cache.block, positions % self.cache.block
            first = (block * into.shape[1] + slots[:, None]) * heads
            if valid is not None:
                first, offset = first[valid], offset[valid]
            head = torch.arange(heads, device=states.device)
            call.places[heads] = ((first.reshape(-1, 1) + head) * self.cache.block + offset.reshape(-1, 1)).reshape(-1)
        new = states.transpose(1, 2)
        new = new if rows is None else new[rows]
        new = new.flatten(0, 1) if valid is None else new[valid]
        into.view(-1, states.shape[3]).index_copy_(0, call.places[heads], new.reshape(-1, states.shape[3]))

    def rows(self, of: Tensor, call: Call) -> Tensor:
        """(R, heads, length, head_dim) of the call's rows; a view where one block holds them."""
        blocks = -(-call.length // self.cache.block)
        if blocks == 1:
            part = of[0, : len(call.positions)] if call.slots is None else of[0, call.slots]
            return part[:, :, : call.length]
        part = of[:blocks, : len(call.positions)] if call.slots is None else of[:blocks, call.slots]
        return part.permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, : call.length]

    def get_seq_length(self) -> int:
        """0: positions are given with each call."""
        return 0

    def get_max_length(self) -> int:
        """Positions allocated."""
        return self.cache.blocks * self.cache.block

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys that a mask would cover."""
        return self.cache.call.length or query_length, 0


class RowCache(Cache):
    """The layers, and what the present call does to them.

    Args:
        layers: How many.
        block: Positions a block.
    """

    def __init__(self, layers: int, block: int) -> None:
        self.block = block
        self.slots = 0
        self.blocks = 0
        self.call = Call(None, torch.zeros(0, 0, dtype=torch.long))
        super().__init__(layers=[RowLayer(self) for _ in range(layers)])

    def reserve(self, slots: int, length: int, max_slots: int, max_length: int) -> None:
        """Make room, doubling slots and growing positions by half, never beyond the limits by more than a block."""
        if slots > self.slots:
            self.slots = min(max(slots, 2 * self.slots, 8), max_slots)
        blocks = -(-length // self.block)
        if blocks > self.blocks:
            self.blocks = min(max(blocks, self.blocks * 3 // 2), -(-max_length // self.block))
        for layer in self.layers:
            if layer.keys is not None:
                layer.reserve(layer.keys, layer.values)

    def move(self, source: list[int], target: list[int], length: int) -> None:
        """Copy the blocks with the first `length` positions of each source slot to its target slot, all at once.

        Swaps are allowed, and one slot may be copied to many.
        """
        if length == 0 or not source:
            return
        for layer in self.layers:
            for kept in (layer.keys, layer.values):
                if kept is None:
                    continue
                if len(source) == 1:
                    part = kept[: -(-length // self.block), :, :, : min(length, self.block)]
                    part[:, target[0]] = part[:, source[0]]
                    continue
                origin, goal = (torch.tensor(slots, device=kept.device) for slots in (source, target))
                # Whole blocks of a slot are contiguous: a plain copy each, unlike a part of them.
                for block in kept[: -(-length // self.block)]:
                    block.index_copy_(0, goal, block.index_select(0, origin))

    def release(self) -> None:
        """Free the memory."""
        self.slots = self.blocks = 0
        for layer in self.layers:
            layer.keys = layer.values = None
