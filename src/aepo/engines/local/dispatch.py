"""Chooses the code for a model's device: a CPU, "meta", or any other. No other module makes this choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aepo.engines.local.cache import RowCache
from aepo.engines.local.cpu.forward import cpu_forward
from aepo.engines.local.cpu.llama_shaped import copied_bytes as copied_on_a_cpu
from aepo.engines.local.cpu.segment_attention import SegmentAttention
from aepo.engines.local.forward import Forward, ModelForward, layer_count
from aepo.engines.local.sized_attention import SizedAttention
from aepo.engines.local.tree_attention import FlexAttention, TreeAttention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def forward_of(model: PreTrainedModel, vocabulary: int, slots: int, length: int) -> Forward:
    """The forward pass that reads new tokens for sampling.

    Args:
        model: A causal LM all of whose layers are full attention.
        vocabulary: V; only ids below it may be sampled.
        slots: The number of sequences that may be open at once.
        length: The number of tokens that one sequence may hold.
    """
    if model.device.type == "cpu":
        return cpu_forward(model, vocabulary, slots, length)
    return ModelForward(model, vocabulary, RowCache(layer_count(model), slots, length))


def copied_bytes(model: PreTrainedModel, device: str) -> int:
    """The bytes of the weights that each engine on a type of device holds a second time.

    Args:
        model: The model, which may itself be on "meta".
        device: The type of the engine's device.
    """
    return copied_on_a_cpu(model) if device == "cpu" else 0


def attention_of(until_N: Tensor) -> TreeAttention:
    """The attention of a trie, for training; `until_N` as in `Trie`, on the device of the model."""
    if until_N.is_meta:
        return SizedAttention()
    return SegmentAttention(until_N) if until_N.device.type == "cpu" else FlexAttention(until_N)
