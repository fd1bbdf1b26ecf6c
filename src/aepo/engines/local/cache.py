"""A KV cache whose rows have their own lengths, can be copied onto each other, and are read without gathering.

Each layer holds two tensors (blocks, slots, heads, block, head_dim): position p of a slot lies in block p // block. A
decode step reads the first R slots of the first blocks, each of which is one contiguous piece; on a CPU that halves the
time of attention against a strided view. With one block as long as the cache, the same layout is the usual one
(slots, heads, length, head_dim).
"""

from __future__ import annotations

from collections.abc import Sequence
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
        written: Where what is written comes from and goes to, by number of heads: equal in all layers.
        read: Which values each head reads, by the numbers of heads: idem.
    """

    slots: Tensor | None
    positions: Tensor
    valid: Tensor | None = None
    length: int = 0
    rows_in_block: list[int] = field(default_factory=list)
    written: dict[int, tuple[Tensor | None, Tensor]] = field(default_factory=dict)
    read: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def writes(self, heads: int, slots: int, block: int) -> tuple[Tensor | None, Tensor]:
        """(tokens, places): which of the call's R T tokens are written (None: all), and to which flat rows of a layer.

        A layer is read as (blocks * slots * heads * block, head_dim): a token has one place for each head.
        """
        if heads not in self.written:
            device = self.positions.device
            rows = torch.arange(len(self.positions), device=device) if self.slots is None else self.slots
            first = ((self.positions // block) * slots + rows[:, None]) * heads
            first, offset = first.reshape(-1, 1), (self.positions % block).reshape(-1, 1)
            tokens = None
            if self.valid is not None:
                tokens = self.valid.reshape(-1).nonzero()[:, 0]
                first, offset = first[tokens], offset[tokens]
            places = (first + torch.arange(heads, device=device)) * block + offset
            self.written[heads] = (tokens, places.reshape(-1))
        return self.written[heads]

    def reads(self, heads: int, pairs: int, slots: int, block: int) -> Tensor:
        """(R * heads, length) int32: the flat row of a layer that holds each position, of each query head.

        For a step of one token a row, where row i is slot i. Positions after the row's own stand for its first one,
        which is at hand, so that nothing is fetched in vain; what they weigh is 0.
        """
        if (heads, pairs) not in self.read:
            position = torch.arange(self.length, device=self.positions.device)
            position = torch.where(position <= self.positions, position, 0)
            row = torch.arange(len(self.positions), device=position.device)[:, None]
            first = ((position // block) * slots + row) * pairs
            pair = torch.arange(heads, device=position.device)[:, None] // (heads // pairs)
            places = (first[:, None] + pair) * block + (position % block)[:, None]
            self.read[heads, pairs] = places.flatten(0, 1).int()
        return self.read[heads, pairs]


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
        _, heads, _, size = states.shape
        tokens, places = call.writes(heads, into.shape[1], self.cache.block)
        new = states.transpose(1, 2).flatten(0, 1)
        new = new if tokens is None else new.index_select(0, tokens)
        into.view(-1, size).index_copy_(0, places, new.reshape(-1, size))

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

    # Its name in older transformers.
    get_max_cache_shape = get_max_length

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

    def move(self, source: Sequence[int], target: Sequence[int], length: int, start: int = 0) -> None:
        """Copy the blocks with positions `start` to `length` of each source slot to its target slot, all at once.

        Swaps are allowed, and one slot may be copied to many.
        """
        first, last = start // self.block, -(-length // self.block)
        if first >= last:
            return
        # Slots that are written before their turn to be read comes.
        overwritten = {origin for i, origin in enumerate(source) if origin in target[:i]}
        for layer in self.layers:
            for kept in (layer.keys, layer.values):
                if kept is None:
                    continue
                part = kept[first:last, :, :, : min(length, self.block)]
                aside = {slot: part[:, slot].clone() for slot in overwritten}
                for origin, goal in zip(source, target, strict=True):
                    part[:, goal].copy_(aside[origin] if origin in aside else part[:, origin])

    def release(self) -> None:
        """Free the memory."""
        self.slots = self.blocks = 0
        for layer in self.layers:
            layer.keys = layer.values = None
