"""The attention of one new token per row over the blocks of a `BlockCache`, which are read in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from aepo.engines.local.cpu.block_cache import BlockLayer

NAME = "aepo_rows"
# Some models change the scores by these arguments; then the general kernel is used.
SPECIAL = ("softcap", "s_aux", "position_bias")


def register() -> None:
    """Register the attention by its name in transformers' attention interface."""
    ALL_ATTENTION_FUNCTIONS.register(NAME, row_attention)


def row_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """softmax(q k / sqrt(d) + mask) v; the interface is that of transformers' attention functions.

    Args:
        module: The attention module.
        query: (R, heads, 1, head_dim).
        key: The keys from `BlockLayer.update`, which have the layer as an attribute if its blocks are to be read.
        value: The values from `BlockLayer.update`.
        attention_mask: (R, 1, 1, call.length), additive.
        scaling: 1 / sqrt(head_dim) unless given.
        dropout: Unused: the model is in evaluation mode.
        kwargs: Arguments for the general kernel.

    Returns:
        (R, 1, heads, head_dim).
    """
    layer: BlockLayer | None = getattr(key, "row_layer", None)
    if layer is None or attention_mask is None or any(kwargs.get(name) is not None for name in SPECIAL):
        if layer is not None:
            key, value = layer.cache.rows(layer.keys), layer.cache.rows(layer.values)
        general = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return general(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    return attend_in_place(query, layer, attention_mask, scaling), None


def attend_in_place(query: Tensor, layer: BlockLayer, attention_mask: Tensor, scaling: float | None = None) -> Tensor:
    """softmax(q k scaling + mask) v over the blocks of a layer, as the call of its cache says.

    Args:
        query: (R, heads, 1, head_dim).
        layer: The layer, which already has the new keys and values.
        attention_mask: (R, 1, 1, call.length), additive.
        scaling: 1 / sqrt(head_dim) unless given.

    Returns:
        (R, 1, heads, head_dim).
    """
    rows, heads, _, size = query.shape
    keys, cache = layer.keys, layer.cache
    length, block = cache.call.length, cache.block
    pairs = keys.shape[2]
    scale = size**-0.5 if scaling is None else scaling
    # Heads that share keys are rows of one small matrix, so no key is repeated.
    wanted = (query * scale).reshape(rows * pairs, heads // pairs, size)
    parts = []
    for b, count in enumerate(cache.rows_in_block):
        here, width = count * pairs, min(block, length - b * block)
        part = wanted.new_empty(rows * pairs, heads // pairs, width)
        torch.bmm(wanted[:here], keys[b, :count, :, :width].flatten(0, 1).transpose(1, 2), out=part[:here])
        part[here:] = 0.0
        parts.append(part)
    scores = torch.cat(parts, -1).view(rows, heads, 1, length).add_(attention_mask)
    shares = torch.softmax(scores, -1, dtype=torch.float32).to(layer.values.dtype)
    # This operation sums weighted rows and reads them at the speed of memory. A matrix product of one row reads them at
    # half of it.
    mixed = embedding_bag(
        cache.read(heads, pairs),
        layer.values.view(-1, layer.values.shape[-1]),
        mode="sum",
        per_sample_weights=shares.view(rows * heads, length),
    )
    return mixed.view(rows, 1, heads, layer.values.shape[-1])
