"""A KV cache whose rows have their own lengths and can be copied onto each other.

Each layer holds two tensors (slots, heads, length, head_dim). Attention reads views of the first slots and positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


@dataclass(frozen=True)
class CacheCall:
    """The effect of one model call on the cache.

    Attributes:
        slots: (R,) the slot of each row; None in a decode step, where row i is slot i.
        positions: (R, T) the position where each query token is written.
        valid: (R, T) bool, False on padding, which is not written; None if there is no padding.
        length: The number of positions that the rows read; 0 if they read only the call's own keys.
        read: In a decode step, how many positions each row reads; 0 for a row that no request needs.
    """

    slots: Tensor | None
    positions: Tensor
    valid: Tensor | None = None
    length: int = 0
    read: Sequence[int] = ()


class RowLayer(CacheLayerMixin):
    """One layer's keys and values."""

    is_sliding = False

    def __init__(self, cache: RowCache) -> None:
        super().__init__()
        self.cache = cache
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing, because the first update allocates the memory."""

    def reserve(self, key: Tensor, value: Tensor) -> None:
        """Grow to the size of the cache; `key` and `value` (..., heads, ?, head_dim) give the shapes."""
        self.keys = self._grown(self.keys, key)
        self.values = self._grown(self.values, value)

    def _grown(self, old: Tensor | None, like: Tensor) -> Tensor:
        shape = self.cache.shape(like.shape[-3], like.shape[-1])
        if old is not None and old.shape == shape:
            return old
        # Unwritten positions are masked, but their memory must be zeros, because 0 * NaN is NaN.
        new = like.new_zeros(shape)
        if old is not None:
            new[tuple(map(slice, old.shape))] = old
        return new

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write the call's keys and values; return those that its rows may attend to."""
        self.reserve(key_states, value_states)
        self._write(self.keys, key_states)
        self._write(self.values, value_states)
        if self.cache.call.length == 0:
            return key_states, value_states
        return self.cache.rows(self.keys), self.cache.rows(self.values)

    def _write(self, into: Tensor, states: Tensor) -> None:
        _, heads, _, size = states.shape
        tokens, places = self.cache.written(heads)
        new = states.transpose(1, 2).flatten(0, 1)
        new = new if tokens is None else new.index_select(0, tokens)
        into.view(-1, size).index_copy_(0, places, new.reshape(-1, size))

    def get_seq_length(self) -> int:
        """Return 0, because each call brings its positions."""
        return 0

    def get_max_length(self) -> int:
        """The number of allocated positions."""
        return self.cache.length

    # The method has this name in older versions of transformers.
    get_max_cache_shape = get_max_length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """The length and the offset of the keys that a mask covers."""
        return self.cache.call.length or query_length, 0


class RowCache(Cache):
    """The keys and values of all layers, and the call that is at work on them.

    Attributes:
        most_slots: The largest number of slots.
        most_length: The number of positions that may be used in each slot.
        slots: The number of allocated slots.
        length: The number of allocated positions in each slot.
        call: The current model call.

    Args:
        layers: The number of layers.
        slots: The largest number of slots.
        length: The number of positions that may be used in each slot.
    """

    layer_type = RowLayer

    def __init__(self, layers: int, slots: int, length: int) -> None:
        self.most_slots, self.most_length = slots, length
        self.slots, self.length = 0, length
        self.begin(CacheCall(None, torch.zeros(0, 0, dtype=torch.long)))
        super().__init__(layers=[self.layer_type(self) for _ in range(layers)])

    def begin(self, call: CacheCall) -> None:
        """Set what the next forward pass does."""
        self.call = call
        self._written: dict[int, tuple[Tensor | None, Tensor]] = {}

    def reserve(self, slots: int, length: int) -> None:
        """Make room. The number of slots doubles up to the limit; each new slot has all its positions."""
        if slots > self.slots:
            self.slots = min(max(slots, 2 * self.slots, 8), self.most_slots)
        for layer in self.layers:
            if layer.keys is not None:
                layer.reserve(layer.keys, layer.values)

    def shape(self, heads: int, size: int) -> tuple[int, ...]:
        """The shape of a layer's keys or values, as far as memory is reserved."""
        return self.slots, heads, self.length, size

    def place(self, heads: int, head: Tensor, slot: Tensor, position: Tensor) -> Tensor:
        """The row that holds a position if a layer is read as (rows, head_dim); the arguments are broadcast."""
        return (slot * heads + head) * self.length + position

    def written(self, heads: int) -> tuple[Tensor | None, Tensor]:
        """(tokens, places): which of the call's R T tokens are written (None means all), and to which rows of a layer.

        A token has one place for each head. All layers have the same places.
        """
        if heads not in self._written:
            call, device = self.call, self.call.positions.device
            rows = torch.arange(len(call.positions), device=device) if call.slots is None else call.slots
            slot, position = rows[:, None].expand_as(call.positions).reshape(-1, 1), call.positions.reshape(-1, 1)
            tokens = None
            if call.valid is not None:
                tokens = call.valid.reshape(-1).nonzero()[:, 0]
                slot, position = slot[tokens], position[tokens]
            places = self.place(heads, torch.arange(heads, device=device), slot, position)
            self._written[heads] = (tokens, places.reshape(-1))
        return self._written[heads]

    def rows(self, of: Tensor) -> Tensor:
        """(R, heads, length, head_dim) of the call's rows, from a layer's keys or values."""
        part = of[: len(self.call.positions)] if self.call.slots is None else of[self.call.slots]
        return part[:, :, : self.call.length]

    def move(self, source: Sequence[int], target: Sequence[int], length: int, start: int = 0) -> None:
        """Copy positions `start` to `length` of each source slot to its target slot, all at once.

        Swaps are allowed, and one slot may be copied to many.
        """
        if start >= length:
            return
        # These slots are written before they are read.
        overwritten = {origin for i, origin in enumerate(source) if origin in target[:i]}
        for layer in self.layers:
            for kept in (layer.keys, layer.values):
                if kept is None:
                    continue
                part = self.part(kept, start, length)
                aside = {slot: part[slot].clone() for slot in overwritten}
                for origin, goal in zip(source, target, strict=True):
                    part[goal].copy_(aside[origin] if origin in aside else part[origin])

    def part(self, of: Tensor, start: int, length: int) -> Tensor:
        """(slots, ...): a view of a layer's keys or values that has the positions `start` to `length`, or some more."""
        return of[:, :, start:length]

    def release(self) -> None:
        """Free the memory."""
        self.slots = 0
        for layer in self.layers:
            layer.keys = layer.values = None
