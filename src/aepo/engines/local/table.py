"""Sequences as rows of a forkable cache, and a model that reads on in them: which tokens, where, under what mask."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from aepo.engines.local import attention
from aepo.engines.local.cache import Call, RowCache
from aepo.engines.local.direct import direct_forward
from aepo.engines.local.head import base_model, find_head
from aepo.engines.local.schedule import CHUNK
from aepo.engines.local.sequence import LocalSequence
from aepo.engines.local.supported import layer_count, reads_in_place

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Positions a cache block on a CPU: short enough that few are read in vain, long enough that calls are few.
CPU_BLOCK = 64
# Padded tokens in one prefill call. On a CPU few enough that what one layer hands to the next stays in the cache.
CPU_CALL_TOKENS, CALL_TOKENS = 1024, 8192

Moves = Callable[[Sequence[LocalSequence | None], Sequence[LocalSequence]], list[tuple[int, int]]]
"""(table, rows to be sampled) -> moves (from slot, to slot) that bring the rows to the front (`schedule`)."""


class RowTable:
    """Open sequences by their slot in the cache, and a model that reads on in them.

    Attributes:
        call_tokens: Padded tokens that one prefill call should have at most.

    Args:
        model: A causal LM all of whose layers are full attention.
        vocabulary: Ids that may be sampled: those below.
        slots: How many sequences may be open at once.
        length: Tokens that one may hold.
        direct: On a CPU, run a Llama-shaped model without its modules.
        in_place: Whether a step of one token a row reads the blocks where they lie; by default on a CPU, where it can.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: int,
        slots: int,
        length: int,
        direct: bool,
        in_place: bool | None = None,
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._slots = slots
        self._length = length
        self._device = model.device
        # Blocks pay on a CPU. An accelerator's kernels read strided views at full speed: there one block is the cache.
        if in_place is None:
            able = self._device.type == "cpu" and getattr(model, "_supports_attention_backend", False)
            in_place = bool(able) and reads_in_place(model.config)
        self._in_place = in_place
        self._cache = RowCache(layer_count(model), CPU_BLOCK if self._in_place else length)
        self.call_tokens = CPU_CALL_TOKENS if self._device.type == "cpu" else CALL_TOKENS
        if self._in_place:
            attention.register()
        self._head = find_head(model, vocabulary)
        # Its logits are computed here, in float32, where it is known how.
        self._reader = model if self._head is None else base_model(model).get_decoder()
        parameters = inspect.signature(base_model(self._reader).forward).parameters
        self._last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        # transformers renamed the argument in 5.24.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._direct = direct_forward(model) if direct and self._in_place else None
        self._table: list[LocalSequence | None] = []

    def __iter__(self) -> Iterator[LocalSequence]:
        return (row for row in self._table if row is not None)

    def add(self, tokens: list[int], noise: int, order: int, starts: list[int]) -> LocalSequence:
        """A new sequence in the first free slot, of which nothing was read.

        Raises:
            RuntimeError: None is free.
        """
        slot = next((i for i, held in enumerate(self._table) if held is None), len(self._table))
        if slot >= self._slots:
            raise RuntimeError(
                f"{self._slots} sequences are open, no more are allowed: close some or raise max_sequences"
            )
        if slot == len(self._table):
            self._table.append(None)
            self._reserve(0)
        new = LocalSequence(tokens, noise, order, slot, starts=starts)
        self._table[slot] = new
        return new

    def remove(self, row: LocalSequence) -> None:
        """Free its slot."""
        self._table[row.slot] = None

    def clear(self) -> None:
        """Free every slot."""
        self._table.clear()

    def forget_weights(self) -> None:
        """What was read is of no use under the weights to come: everything is read again."""
        for row in self:
            row.cached = 0

    def new_weights(self) -> None:
        """Take the model's weights as they are now."""
        if self._direct is not None:
            self._direct.refresh()

    def release(self) -> None:
        """Give an accelerator's memory back."""
        if self._device.type != "cpu":
            self._cache.release()

    def copy(self, source: LocalSequence, target: LocalSequence, length: int) -> None:
        """Let `target` have read what `source` has, up to `length`; both hold the same tokens there."""
        self._cache.move([source.slot], [target.slot], length, start=target.cached)
        target.cached = length

    def decode(self, rows: list[LocalSequence], moves: Moves) -> tuple[list[LocalSequence], Tensor]:
        """Read the one unread token of each row.

        Returns:
            The rows in the order of the logits, and (R, V) logits after their last tokens.
        """
        self._arrange(rows, moves)
        count = max(row.slot for row in rows) + 1
        idle = LocalSequence([0], 0, 0, 0)
        held = [row or idle for row in self._table[:count]]
        # An idle row computes a token that nobody sees; what it writes lies beyond what it has cached.
        places = [min(row.cached, self._length - 1) for row in held]
        last = [row.tokens[row.cached] if row.uncached else 0 for row in held]
        self._reserve(max(places) + 1)
        longest = max(row.cached for row in rows) + 1
        call = Call(None, self._tensor(places)[:, None], length=longest)
        if self._in_place:
            block = self._cache.block
            call.rows_in_block = [
                1 + max(row.slot for row in rows if row.cached >= start) for start in range(0, longest, block)
            ]
        logits = self._forward(self._tensor(last)[:, None], call)
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
        # On the left, so that the last column holds everyone's last token.
        padding = [width - len(part) for part in parts]
        ids = self._tensor([[0] * pad + part for pad, part in zip(padding, parts, strict=True)])
        pads = self._tensor(padding)[:, None]
        column = torch.arange(width, device=self._device)
        valid = column >= pads
        positions = (column - pads + self._tensor([row.cached for row in rows])[:, None]).clamp_(min=0)
        ends = [row.cached + len(part) for row, part in zip(rows, parts, strict=True)]
        self._reserve(max(ends))
        call = Call(self._tensor([row.slot for row in rows]), positions, valid if any(padding) else None)
        if any(row.cached for row in rows):
            call.length = max(ends)
            seen = torch.arange(call.length, device=self._device) <= positions[:, :, None]
        else:
            seen = (column <= column[:, None]) & valid[:, None]
            # A padding query must see something: a softmax over nothing is NaN, and NaN * 0 stays.
            seen |= torch.eye(width, dtype=torch.bool, device=self._device)
        logits = self._forward(ids, call, seen)
        for row, end in zip(rows, ends, strict=True):
            row.cached = end
        read = [i for i, row in enumerate(rows) if not row.uncached]
        return [rows[i] for i in read], logits[self._tensor(read)]

    def _forward(self, ids: Tensor, call: Call, seen: Tensor | None = None) -> Tensor:
        """(R, V) logits after each row's last token; `seen` (R, T, keys) bool, by default all up to the position."""
        if seen is None:
            seen = torch.arange(call.length, device=self._device) <= call.positions[:, :, None]
        mask = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
        mask = mask.masked_fill_(~seen, -torch.inf)[:, None]
        self._cache.call = call
        if self._direct is not None:
            return self._direct(ids, mask, self._cache, self._vocabulary)
        config = self._model.config
        usual = config._attn_implementation
        if call.rows_in_block:
            config._attn_implementation = attention.NAME
        try:
            out = self._reader(
                input_ids=ids,
                attention_mask=mask,
                position_ids=call.positions,
                use_cache=True,
                **{self._cache_argument: self._cache},
                **self._last_only,
            )
        finally:
            config._attn_implementation = usual
        if self._head is not None:
            return self._head.logits(out.last_hidden_state[:, -1])
        return cast(Tensor, out.logits[:, -1, : self._vocabulary])

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
        self._cache.reserve(len(self._table), length, self._slots, self._length)

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)
