"""Attention on a trie: a token sees the tokens before it in its own sequences, and no others.

The caller of a model gives it a `TreeAttention`, which its layers call instead of their kernel. On a GPU that is
FlexAttention, which skips blocks in which no pair sees each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "aepo_tree"
BLOCK = 128
"""Tokens of a block of queries or keys: FlexAttention's own default."""
# Some models change the scores by these arguments.
SPECIAL = ("softcap", "s_aux", "position_bias", "sliding_window")
ONE_KERNEL = {"FORCE_USE_FLEX_ATTENTION": True}
"""Without it a trie of under 128 tokens would go to a kernel for decoding, whose compilation can take minutes."""


class TreeAttention(Protocol):
    """The attention of one trie, the same for all layers."""

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None
    ) -> Tensor:
        """softmax(q k scaling) v over what each token of the trie sees.

        Args:
            module: The attention module.
            query: (1, heads, N, head_dim).
            key: (1, pairs, N, head_dim), heads a multiple of pairs.
            value: (1, pairs, N, head_dim).
            scaling: 1 / sqrt(head_dim) unless given.

        Returns:
            (1, N, heads, head_dim).
        """
        ...


class FlexAttention:
    """FlexAttention under a block mask, as a GPU runs it (a `TreeAttention`).

    Args:
        until_N: As in `Trie`, on the device of the model.
    """

    def __init__(self, until_N: Tensor) -> None:
        self.block_mask = block_mask(until_N)

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None
    ) -> Tensor:
        """See `TreeAttention`."""
        flex = ALL_ATTENTION_FUNCTIONS["flex_attention"]
        given = {"scaling": scaling, "kernel_options": ONE_KERNEL}
        return cast(Tensor, flex(module, query, key, value, self.block_mask, **given)[0])


def block_mask(until_N: Tensor) -> BlockMask:
    """The blocks that each block of queries has to read.

    The result equals that of `create_block_mask`, which makes N x N masks. Queries of block I see a part of an earlier
    block J of keys exactly if the longest run of descendants in J reaches them, max until_J > BLOCK I. They see all of
    it exactly if the shortest run covers them, min until_J >= BLOCK (I + 1). A query sees a part of its own block and
    no later one.

    Memory grows with N and (N / BLOCK)^2, with some 50 bytes for each pair of blocks.

    Args:
        until_N: As in `Trie`.
    """
    size, device = len(until_N), until_N.device
    blocks = -(-size // BLOCK)
    # No later block sees the padding of the last one.
    until_JK = nn.functional.pad(until_N, (0, blocks * BLOCK - size)).view(blocks, BLOCK)
    begin_I1 = torch.arange(blocks, device=device)[:, None] * BLOCK
    earlier_IJ = torch.ones(blocks, blocks, dtype=torch.bool, device=device).tril(-1)
    whole_IJ = earlier_IJ & (until_JK.amin(-1) >= begin_I1 + BLOCK)
    part_IJ = (earlier_IJ & (until_JK.amax(-1) > begin_I1) & ~whole_IJ) | torch.eye(blocks, device=device).bool()
    return BlockMask.from_kv_blocks(
        *_listed(part_IJ), *_listed(whole_IJ), BLOCK, mask_mod=mask_mod(until_N), seq_lengths=(size, size)
    )


def _listed(chosen_IJ: Tensor) -> tuple[Tensor, Tensor]:
    """(1, 1, I): the number of blocks of each row; (1, 1, I, J): their indices, followed by the other blocks."""
    order_IJ = chosen_IJ.int().argsort(descending=True, stable=True)
    return chosen_IJ.sum(-1, dtype=torch.int32)[None, None], order_IJ.int()[None, None]


def mask_mod(until_N: Tensor) -> Any:
    """Whether a query sees a key, for FlexAttention: the key is in the prefix of the query, or is the query's own."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < until_N[key])

    return seen


def use(model: PreTrainedModel) -> None:
    """Let a model with the attention "sdpa" call this module instead; calls without a trie give the same as before.

    The change is permanent, because with gradient checkpointing layers run again after the call with the trie has
    returned.

    Raises:
        ValueError: The model has another attention.
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
    tree: TreeAttention | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention of a trie, or "sdpa"; the interface is that of transformers' attention functions.

    Args:
        module: The attention module.
        query: (B, heads, T, head_dim).
        key: (B, pairs, T, head_dim).
        value: (B, pairs, T, head_dim).
        attention_mask: The mask of calls without a trie.
        tree: The attention that the caller of the model gave; None uses "sdpa".
        scaling: 1 / sqrt(head_dim) unless given.
        dropout: The dropout of calls without a trie; it is not used with one, because training runs in evaluation mode.
        kwargs: Arguments for "sdpa".

    Returns:
        (B, T, heads, head_dim).

    Raises:
        ValueError: The model changes its scores in a way that the attention of a trie does not support.
    """
    if tree is None:
        general = ALL_ATTENTION_FUNCTIONS["sdpa"]
        return general(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs)
    if used := [name for name in SPECIAL if kwargs.get(name) is not None]:
        raise ValueError(f"its attention uses {used[0]}")
    return tree(module, query, key, value, scaling), None
