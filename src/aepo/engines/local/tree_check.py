"""Checks on a small trie, before training, that a model scores a trie as it scores the sequences in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from aepo.core.trie import trie
from aepo.engines.local.head import base_model
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.supported import refuse_unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LAYERS = 4
"""Layers that are tried. If a model's layers differ, they repeat with a period of at most so many."""
LENGTH = 24
TOLERANCE = 1e-3
"""Largest difference of two scores in nats. In float32 rounding stays below 1e-4; a wrong mask gives 0.01 or more."""


def refuse_tree(model: PreTrainedModel, vocab_size: int, tokens: Sequence[int] = ()) -> None:
    """Check that trees get the same scores as their sequences.

    The trial uses a copy of the first layers in float32. In bfloat16 the scores of one sequence differ by nats between
    batches of different shapes, which says nothing about the tree. The copy is on the CPU, because the compiler of GPU
    kernels needs minutes for FlexAttention in float32 with wide heads.

    Args:
        model: A causal LM.
        vocab_size: Ids below it can be sampled.
        tokens: A text that the model will read; its beginning is tried.

    Raises:
        ValueError: The scores differ: the attention cannot be replaced, or it is not plain full attention.
    """
    name = getattr(model.config, "_name_or_path", "") or type(base_model(model)).__name__
    reason = None
    # The advice to change the layout would not help a model that no layout can train.
    refuse_unsupported(model.config)
    try:
        difference = tree_difference(ModelLogprobs(first_layers(model), vocab_size), tokens)
    # If the model fails in any way with a trie, it must not be trained on one.
    except Exception as error:
        difference, reason = 0.0, (str(error) or type(error).__name__).splitlines()[0]
    if not difference <= TOLERANCE:
        reason = f"their scores are {difference:.1e} off those of sequences"
    if reason is not None:
        raise ValueError(f"{name} cannot be trained on trees: {reason}; set train.layout: flat")


def first_layers(model: PreTrainedModel) -> PreTrainedModel:
    """A float32 copy of a model with its first layers; with all layers if they are not in one list.

    The copy is on the CPU, wherever the model is.
    """
    base = base_model(model)
    count = base.config.get_text_config(decoder=True).num_hidden_layers
    decoder = base.get_decoder()
    lists = [
        (n, part) for n, part in decoder.named_children() if isinstance(part, nn.ModuleList) and len(part) == count
    ]
    for name, layers in lists:
        setattr(decoder, name, layers[:LAYERS])
    try:
        shorter = copy.deepcopy(model)
    finally:
        for name, layers in lists:
            setattr(decoder, name, layers)
    return cast("PreTrainedModel", shorter.cpu().float().eval().requires_grad_(False))


@torch.no_grad()
def tree_difference(logprobs: ModelLogprobs, tokens: Sequence[int] = ()) -> float:
    """The largest difference between scores of sequences that share a beginning and those of their trie."""
    device = logprobs.model.device
    given = [*tokens[:LENGTH], *range(LENGTH)][:LENGTH]
    tokens_BT = torch.tensor(given).repeat(3, 1) % logprobs.vocab_size
    tokens_BT[1, 8:] = tokens_BT[1, 8:].flip(0)
    tokens_BT[2, 16:] = tokens_BT[2, 16:].flip(0)
    wanted_BT = torch.ones_like(tokens_BT)
    wanted_BT[:, 0] = 0
    flat_BT = logprobs.score(tokens_BT.to(device), wanted_BT.to(device), 1.0)
    tree = trie(tokens_BT[:, :-1], torch.full((3,), LENGTH - 1), torch.zeros(3))
    places_K, targets_K = tree.places_BT.flatten(), tokens_BT[:, 1:].flatten()
    tree_K = logprobs.score_tree(tree.to(device), places_K.to(device), targets_K.to(device), 1.0)
    return float((tree_K - flat_BT[:, 1:].flatten()).abs().max())
