"""Which path a model takes, by its device: the one place where a CPU, "meta" and all others part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aepo.engines.local.cache import RowCache
from aepo.engines.local.cpu.forward import cpu_forward
from aepo.engines.local.cpu.segment_attention import SegmentAttention
from aepo.engines.local.forward import Forward, ModelForward, layer_count
from aepo.engines.local.sized_attention import SizedAttention
from aepo.engines.local.tree_attention import FlexAttention, TreeAttention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def forward_of(model: PreTrainedModel, vocabulary: int, slots: int, length: int) -> Forward:
    """What reads tokens on, for sampling.

    Args:
        model: A causal LM all of whose layers are full attention.
        vocabulary: Ids that may be sampled: those below.
        slots: How many sequences may be open at once.
        length: Tokens that one may hold.
    """
    if model.device.type == "cpu":
        return cpu_forward(model, vocabulary, slots, length)
    return ModelForward(model, vocabulary, RowCache(layer_count(model), slots, length))


def attention_of(until_N: Tensor) -> TreeAttention:
    """The attention of a trie, for training; `until_N` as in `Trie`, on the device of the model."""
    if until_N.is_meta:
        return SizedAttention()
    return SegmentAttention(until_N) if until_N.device.type == "cpu" else FlexAttention(until_N)
