"""Forward passes for a CPU: attention reads the cache's blocks in place; Llama-shaped models run without modules."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from torch import Tensor

from aepo.engines.local.cache import CacheCall, RowCache
from aepo.engines.local.cpu import row_attention
from aepo.engines.local.cpu.block_cache import BlockCache
from aepo.engines.local.cpu.direct import DirectModel
from aepo.engines.local.cpu.llama_shaped import direct_model
from aepo.engines.local.forward import Forward, ModelForward, additive, layer_count
from aepo.engines.local.trial import ROOM, TOLERANCE, VOCABULARY, Family, cached_difference

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALL_TOKENS = 1024
"""Padded tokens of a call: so few that the values between two layers stay in the processor's cache."""


class InPlaceForward(ModelForward):
    """Runs the model's own modules, whose attention reads the cache in place in a decode step (a `Forward`)."""

    cache: BlockCache

    def __init__(self, model: PreTrainedModel, vocabulary: int, cache: BlockCache) -> None:
        super().__init__(model, vocabulary, cache, CALL_TOKENS)
        row_attention.register()

    def __call__(self, ids: Tensor, seen: Tensor, call: CacheCall) -> Tensor:
        """See `Forward`."""
        config = self.model.config
        usual = config._attn_implementation
        if call.slots is None:
            config._attn_implementation = row_attention.NAME
        try:
            return super().__call__(ids, seen, call)
        finally:
            config._attn_implementation = usual


class DirectForward:
    """Runs a model without its modules (a `Forward`).

    Args:
        direct: The pass that replaces the modules.
        vocabulary: V; only ids below it may be sampled.
        cache: A cache with as many layers as the model.
    """

    def __init__(self, direct: DirectModel, vocabulary: int, cache: BlockCache) -> None:
        self.direct, self.vocabulary = direct, vocabulary
        self.cache = cache
        self.call_tokens, self.device = CALL_TOKENS, direct.device

    def __call__(self, ids: Tensor, seen: Tensor, call: CacheCall) -> Tensor:
        """See `Forward`."""
        self.cache.begin(call)
        return self.direct(ids, additive(seen, self.direct.dtype), self.cache, self.vocabulary)

    def refresh(self) -> None:
        """Read the model's current weights."""
        self.direct.refresh()


def cpu_forward(model: PreTrainedModel, vocabulary: int, slots: int, length: int) -> Forward:
    """The fastest pass with the model's own logits: without modules, else in place, else with the modules alone."""
    layers = layer_count(model)
    if not getattr(model, "_supports_attention_backend", False) or not reads_in_place(Family.of(model.config)):
        return ModelForward(model, vocabulary, RowCache(layers, slots, length), CALL_TOKENS)
    cache = BlockCache(layers, slots, length)
    direct = direct_model(model)
    return InPlaceForward(model, vocabulary, cache) if direct is None else DirectForward(direct, vocabulary, cache)


@lru_cache(maxsize=64)
def reads_in_place(family: Family) -> bool:
    """Try on a small copy whether the attention of one new token can read the cache's blocks where they lie."""
    try:
        with family.small_copy() as model:
            cache = BlockCache(layer_count(model), *ROOM)
            return cached_difference(model, InPlaceForward(model, VOCABULARY, cache)) <= TOLERANCE
    # If the model fails in any way with a cache that it does not know, it must not be sampled with that cache.
    except Exception:
        return False
