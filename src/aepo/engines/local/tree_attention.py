"""Attention on a trie: a token sees the tokens before it in its own sequences, whatever stands between.

Two kernels give the same. `segment_attention` (CPU) asks for exactly the pairs that see each other: the tokens of a
segment (a run without a branch) among themselves, causally; and all tokens that follow on a segment, which stand in one
run behind it, against it, without a mask. The parts of a token's softmax are put together by their log-sum-exps, and
the backward pass needs no more than the kept total: memory grows with distinct tokens. Elsewhere FlexAttention skips
the blocks in which nothing is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from aepo.core.trie import segments

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "aepo_tree"
# Arguments by which some models change the scores.
SPECIAL = ("softcap", "s_aux", "position_bias", "sliding_window")
CALL_COST = 2048
"""What a kernel call costs, in pairs of query and key that could be computed meanwhile."""
ONE_KERNEL = {"FORCE_USE_FLEX_ATTENTION": True}
"""Without it a trie of under 128 tokens would be given to a kernel for decoding, whose compilation can take minutes."""


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


@dataclass(frozen=True)
class Side:
    """The queries, or the keys, of some blocks as padded rows.

    Attributes:
        rows: Blocks.
        width: Of a row.
        run: Where they are stored if they are of one block; nothing is padded or copied then.
        tokens_V: Where they are stored.
        places_V: Where they stand among the rows * width padded ones.
    """

    rows: int
    width: int
    run: slice | None
    tokens_V: Tensor
    places_V: Tensor

    def take(self, values_NHD: Tensor) -> Tensor:
        """(rows, H, width, D); zeros are padding."""
        if self.run is not None:
            return values_NHD[self.run].transpose(0, 1)[None]
        padded = values_NHD.new_zeros(self.rows * self.width, *values_NHD.shape[1:])
        padded[self.places_V] = values_NHD[self.tokens_V]
        return padded.view(self.rows, self.width, *values_NHD.shape[1:]).transpose(1, 2)

    def flat(self, values_RHWD: Tensor) -> Tensor:
        """(V, H, D): what `take` gave, without padding."""
        if self.run is not None:
            return values_RHWD[0].transpose(0, 1)
        return values_RHWD.transpose(1, 2).flatten(0, 1)[self.places_V]

    def add(self, target_NHD: Tensor, values_RHWD: Tensor) -> None:
        """Add to where `take` took from."""
        if self.run is not None:
            target_NHD[self.run] += self.flat(values_RHWD)
        else:
            # None of them is there twice.
            target_NHD[self.tokens_V] = target_NHD[self.tokens_V] + self.flat(values_RHWD)


@dataclass(frozen=True)
class KernelCall:
    """Blocks of like size, in one kernel call; `mask` (rows, 1, 1, keys) is additive, None where no key is padded."""

    queries: Side
    keys: Side
    causal: bool
    mask: Tensor | None


@dataclass(frozen=True)
class Plan:
    """What the attention of one trie consists of, the same for all layers: calls on a CPU, else a block mask."""

    calls: tuple[KernelCall, ...] = ()
    block_mask: BlockMask | None = None


def plan(until_N: Tensor) -> Plan:
    """Prepare the attention of a trie.

    Args:
        until_N: As in `Trie`; on the device of the model.
    """
    if until_N.device.type != "cpu":
        size = len(until_N)
        return Plan(block_mask=create_block_mask(mask_mod(until_N), None, None, size, size, device=until_N.device))
    return Plan(tuple(_kernel_call(group) for group in grouped(blocks(until_N))))


def mask_mod(until_N: Tensor) -> Any:
    """Whether a query sees a key, as FlexAttention asks; equal to `aepo.core.trie.sees`."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < until_N[key])

    return seen


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


def _kernel_call(group: Sequence[Block]) -> KernelCall:
    queries = _side([b.query for b in group], [b.queries for b in group])
    if group[0].level == 0:
        # Padding comes last: no token sees it.
        return KernelCall(queries, queries, True, None)
    counts = [b.keys for b in group]
    keys = _side([b.key for b in group], counts)
    mask = None
    if min(counts) < keys.width:
        padding = torch.arange(keys.width) >= torch.tensor(counts)[:, None]
        mask = torch.zeros(padding.shape).masked_fill_(padding, -torch.inf)[:, None, None]
    return KernelCall(queries, keys, False, mask)


def _side(starts: Sequence[int], counts: Sequence[int]) -> Side:
    width = max(counts)
    column = torch.arange(width)
    inside = column < torch.tensor(counts)[:, None]
    tokens_V = (torch.tensor(starts)[:, None] + column)[inside]
    run = slice(starts[0], starts[0] + width) if len(starts) == 1 else None
    return Side(len(starts), width, run, tokens_V, inside.flatten().nonzero()[:, 0])


class _SegmentAttention(torch.autograd.Function):
    """Softmax attention over the calls of a plan, which part the keys of a query.

    o = sum over parts c of exp(lse_c - lse) o_c, with lse = ln sum_c exp(lse_c). The kernel's own backward pass
    rebuilds a part's probabilities as exp(q k - lse) and needs of all other keys only the row sum of do o. So it gives
    each part's share of the gradient when it is handed the lse and o of all parts in place of its own.

    PyTorch's public attention function returns no lse: these are the two operators that it runs on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, query_NHD: Tensor, key_NGD: Tensor, value_NGD: Tensor, plan: Plan, scale: float) -> Tensor:
        size, heads, _ = query_NHD.shape
        out_NHD = torch.empty(query_NHD.shape, dtype=torch.promote_types(query_NHD.dtype, torch.float32))
        lse_NH = out_NHD.new_empty(size, heads)
        for call in plan.calls:
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
        ctx.plan, ctx.scale = plan, scale
        return out_NHD

    @staticmethod
    def backward(ctx: Any, grad_NHD: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query_NHD, key_NGD, value_NGD, out_NHD, lse_NH = ctx.saved_tensors
        heads = query_NHD.shape[1]
        sums = [torch.zeros(x.shape, dtype=out_NHD.dtype) for x in (query_NHD, key_NGD, value_NGD)]
        for call in ctx.plan.calls:
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
    """Keys or values once for every head that reads them."""
    pairs = values_RGWD.shape[1]
    return values_RGWD if pairs == heads else values_RGWD.repeat_interleave(heads // pairs, 1)


def _summed(grads_RHWD: Tensor, pairs: int) -> Tensor:
    return grads_RHWD if pairs == grads_RHWD.shape[1] else grads_RHWD.unflatten(1, (pairs, -1)).sum(2)


def _mask(call: KernelCall, dtype: torch.dtype) -> Tensor | None:
    return None if call.mask is None else call.mask.to(dtype)


def segment_attention(query: Tensor, key: Tensor, value: Tensor, plan: Plan, scaling: float | None = None) -> Tensor:
    """softmax(q k scaling) v over what each token of a trie sees.

    Args:
        query: (1, heads, N, head_dim).
        key: (1, pairs, N, head_dim), heads a multiple of pairs.
        value: Idem.
        plan: Of the trie, on a CPU.
        scaling: 1 / sqrt(head_dim) unless given.

    Returns:
        (1, N, heads, head_dim).
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    rows = (x[0].transpose(0, 1) for x in (query, key, value))
    return cast(Tensor, _SegmentAttention.apply(*rows, plan, scale))[None]


def use(model: PreTrainedModel) -> None:
    """Let a model whose attention is "sdpa" ask this module instead; calls without a plan stay what they were.

    It stays so: with gradient checkpointing layers run again after the call that gave the plan has returned.

    Raises:
        ValueError: Its attention is another one.
    """
    kernel = model.config._attn_implementation
    if kernel == NAME:
        return
    if kernel != "sdpa":
        raise ValueError(f'its attention is "{kernel}", not "sdpa"')
    ALL_ATTENTION_FUNCTIONS.register(NAME, tree_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    model.config._attn_implementation = NAME


def tree_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    tree: Plan | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as a plan says; the interface is that of transformers' attention functions.

    Args:
        module: The attention module.
        query: (B, heads, T, head_dim).
        key: (B, pairs, T, head_dim).
        value: Idem.
        attention_mask: Of calls without a plan.
        tree: What the caller of the model gave; None asks for "sdpa".
        scaling: 1 / sqrt(head_dim) unless given.
        dropout: Of calls without a plan: models are trained in evaluation mode.
        kwargs: Handed on to the other kernels.

    Returns:
        (B, T, heads, head_dim).

    Raises:
        ValueError: The model changes its scores in a way that a plan knows nothing of.
    """
    if tree is None:
        general = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return general(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    if used := [name for name in SPECIAL if kwargs.get(name) is not None]:
        raise ValueError(f"its attention uses {used[0]}")
    if tree.block_mask is not None:
        flex = ALL_ATTENTION_FUNCTIONS["flex_attention"]
        given = kwargs | {"kernel_options": ONE_KERNEL}
        return flex(module, query, key, value, tree.block_mask, scaling=scaling, **given)
    return segment_attention(query, key, value, tree, scaling), None
