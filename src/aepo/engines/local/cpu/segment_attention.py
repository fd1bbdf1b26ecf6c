"""Attention on a trie, segment by segment: it computes only the pairs that see each other, without a mask.

A segment is a run of tokens without a branch, and its tokens see each other causally. The tokens that continue it stand
in one run behind it and see all of it. The parts of a token's softmax are joined by their log-sum-exps. The backward
pass needs only the total that was kept, so memory grows with the number of distinct tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from aepo.engines.local.cpu.segments import Block, blocks, grouped


class SegmentAttention:
    """The attention of one trie on a CPU (a `TreeAttention`).

    Args:
        until_N: As in `Trie`.
    """

    def __init__(self, until_N: Tensor) -> None:
        self.calls = tuple(_kernel_call(group) for group in grouped(blocks(until_N)))

    def __call__(
        self, module: nn.Module | None, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None
    ) -> Tensor:
        """See `TreeAttention`."""
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        rows = (x[0].transpose(0, 1) for x in (query, key, value))
        return cast(Tensor, _Mixed.apply(*rows, self.calls, scale))[None]


@dataclass(frozen=True)
class PaddedSide:
    """The queries or the keys of some blocks, as padded rows.

    Attributes:
        rows: The number of blocks.
        width: The number of tokens in a padded row.
        run: The range where the tokens are stored if there is one block; then nothing is padded or copied.
        tokens_V: The index where each token is stored.
        places_V: The index of each token among the rows * width padded ones.
    """

    rows: int
    width: int
    run: slice | None
    tokens_V: Tensor
    places_V: Tensor

    def take(self, values_NHD: Tensor) -> Tensor:
        """(rows, H, width, D): the tokens as padded rows; padding is 0."""
        if self.run is not None:
            return values_NHD[self.run].transpose(0, 1)[None]
        padded = values_NHD.new_zeros(self.rows * self.width, *values_NHD.shape[1:])
        padded[self.places_V] = values_NHD[self.tokens_V]
        return padded.view(self.rows, self.width, *values_NHD.shape[1:]).transpose(1, 2)

    def flat(self, values_RHWD: Tensor) -> Tensor:
        """(V, H, D): the result of `take` without its padding."""
        if self.run is not None:
            return values_RHWD[0].transpose(0, 1)
        return values_RHWD.transpose(1, 2).flatten(0, 1)[self.places_V]

    def add(self, target_NHD: Tensor, values_RHWD: Tensor) -> None:
        """Add values to the places that `take` reads."""
        if self.run is not None:
            target_NHD[self.run] += self.flat(values_RHWD)
        else:
            # No index occurs twice.
            target_NHD[self.tokens_V] = target_NHD[self.tokens_V] + self.flat(values_RHWD)


@dataclass(frozen=True)
class KernelCall:
    """Blocks of similar size for one kernel call; `mask` (rows, 1, 1, keys) is additive, None if no key is padded."""

    queries: PaddedSide
    keys: PaddedSide
    causal: bool
    mask: Tensor | None


def _kernel_call(group: Sequence[Block]) -> KernelCall:
    queries = _side([b.query for b in group], [b.queries for b in group])
    if group[0].level == 0:
        # Padding comes last, so no token sees it.
        return KernelCall(queries, queries, True, None)
    counts = [b.keys for b in group]
    keys = _side([b.key for b in group], counts)
    mask = None
    if min(counts) < keys.width:
        padding = torch.arange(keys.width) >= torch.tensor(counts)[:, None]
        mask = torch.zeros(padding.shape).masked_fill_(padding, -torch.inf)[:, None, None]
    return KernelCall(queries, keys, False, mask)


def _side(starts: Sequence[int], counts: Sequence[int]) -> PaddedSide:
    width = max(counts)
    column = torch.arange(width)
    inside = column < torch.tensor(counts)[:, None]
    tokens_V = (torch.tensor(starts)[:, None] + column)[inside]
    run = slice(starts[0], starts[0] + width) if len(starts) == 1 else None
    return PaddedSide(len(starts), width, run, tokens_V, inside.flatten().nonzero()[:, 0])


class _Mixed(torch.autograd.Function):
    """Softmax attention over several calls, each with a part of a query's keys.

    o = sum over parts c of exp(lse_c - lse) o_c, with lse = ln sum_c exp(lse_c). The kernel's own backward pass
    rebuilds a part's probabilities as exp(q k - lse). All that it needs from the other keys is the row sum of do o. So
    it gives a part's share of the gradient if it gets the lse and o of all parts instead of the part's own.

    PyTorch's public attention function returns no lse, so the two operators that it runs on a CPU are called directly.
    """

    @staticmethod
    def forward(
        ctx: Any, query_NHD: Tensor, key_NGD: Tensor, value_NGD: Tensor, calls: tuple[KernelCall, ...], scale: float
    ) -> Tensor:
        size, heads, _ = query_NHD.shape
        out_NHD = torch.empty(query_NHD.shape, dtype=torch.promote_types(query_NHD.dtype, torch.float32))
        lse_NH = out_NHD.new_empty(size, heads)
        for call in calls:
            asked = call.queries
            part, part_lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                asked.take(query_NHD),
                _repeated(call.keys.take(key_NGD), heads),
                _repeated(call.keys.take(value_NGD), heads),
                0.0,
                call.causal,
                attn_mask=_mask(call, query_NHD.dtype),
                scale=scale,
            )
            at = asked.tokens_V if asked.run is None else asked.run
            new, new_lse = asked.flat(part), asked.flat(part_lse[..., None])
            if call.causal:
                out_NHD[at], lse_NH[at] = new.to(out_NHD.dtype), new_lse[..., 0]
                continue
            old, old_lse = out_NHD[at], lse_NH[at][..., None]
            # o = o_old + sigmoid(lse_new - lse_old) (o_new - o_old)
            out_NHD[at] = torch.lerp(old, new.to(old.dtype), torch.sigmoid(new_lse - old_lse))
            lse_NH[at] = torch.logaddexp(old_lse, new_lse)[..., 0]
        out_NHD = out_NHD.to(query_NHD.dtype)
        ctx.save_for_backward(query_NHD, key_NGD, value_NGD, out_NHD, lse_NH)
        ctx.calls, ctx.scale = calls, scale
        return out_NHD

    @staticmethod
    def backward(ctx: Any, grad_NHD: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query_NHD, key_NGD, value_NGD, out_NHD, lse_NH = ctx.saved_tensors
        heads = query_NHD.shape[1]
        sums = [torch.zeros(x.shape, dtype=out_NHD.dtype) for x in (query_NHD, key_NGD, value_NGD)]
        for call in ctx.calls:
            asked, given = call.queries, call.keys
            grads = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                asked.take(grad_NHD),
                asked.take(query_NHD),
                _repeated(given.take(key_NGD), heads),
                _repeated(given.take(value_NGD), heads),
                asked.take(out_NHD),
                asked.take(lse_NH[..., None])[..., 0],
                0.0,
                call.causal,
                attn_mask=_mask(call, query_NHD.dtype),
                scale=ctx.scale,
            )
            asked.add(sums[0], grads[0])
            given.add(sums[1], _summed(grads[1], key_NGD.shape[1]))
            given.add(sums[2], _summed(grads[2], value_NGD.shape[1]))
        return sums[0], sums[1], sums[2], None, None


def _repeated(values_RGWD: Tensor, heads: int) -> Tensor:
    """Repeat keys or values for every head that reads them."""
    pairs = values_RGWD.shape[1]
    return values_RGWD if pairs == heads else values_RGWD.repeat_interleave(heads // pairs, 1)


def _summed(grads_RHWD: Tensor, pairs: int) -> Tensor:
    return grads_RHWD if pairs == grads_RHWD.shape[1] else grads_RHWD.unflatten(1, (pairs, -1)).sum(2)


def _mask(call: KernelCall, dtype: torch.dtype) -> Tensor | None:
    return None if call.mask is None else call.mask.to(dtype)
