"""Reads new tokens into rows of a cache, by a model's own modules or by a pass that gives the same logits."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from aepo.engines.local.cache import CacheCall, RowCache
from aepo.engines.local.head import base_model, find_head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CALL_TOKENS = 8192


class Forward(Protocol):
    """A forward pass over a cache.

    Attributes:
        call_tokens: The largest number of padded tokens that one call should have.
        device: The device of the model.
    """

    call_tokens: int
    device: torch.device

    @property
    def cache(self) -> RowCache:
        """The keys and values of the tokens that were read."""
        ...

    def __call__(self, ids: Tensor, seen: Tensor, call: CacheCall) -> Tensor:
        """(R, V) logits after each row's last token.

        Args:
            ids: (R, T), padded on the left.
            seen: (R, T, keys) bool, which keys each token sees.
            call: The places of the rows, and what is written.
        """
        ...

    def refresh(self) -> None:
        """Read the model's current weights."""
        ...


class ModelForward:
    """Runs the model's own modules and kernels, as on a GPU (a `Forward`).

    Args:
        model: A causal LM all of whose layers are full attention.
        vocabulary: V; only ids below it may be sampled.
        cache: A cache with as many layers as the model.
        call_tokens: The largest number of padded tokens that one call should have.
    """

    def __init__(
        self, model: PreTrainedModel, vocabulary: int, cache: RowCache, call_tokens: int = CALL_TOKENS
    ) -> None:
        self.model, self.vocabulary, self.cache, self.call_tokens = model, vocabulary, cache, call_tokens
        self.device = model.device
        self._head = find_head(model, vocabulary)
        # If the form of the model's logits is known, they are computed here, in float32.
        self._reader = model if self._head is None else base_model(model).get_decoder()
        parameters = inspect.signature(base_model(self._reader).forward).parameters
        self._last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        # transformers renamed the argument in 5.24.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"

    def __call__(self, ids: Tensor, seen: Tensor, call: CacheCall) -> Tensor:
        """See `Forward`."""
        self.cache.begin(call)
        out = self._reader(
            input_ids=ids,
            attention_mask=additive(seen, self.model.dtype),
            position_ids=call.positions,
            use_cache=True,
            **{self._cache_argument: self.cache},
            **self._last_only,
        )
        if self._head is not None:
            return self._head.logits(out.last_hidden_state[:, -1])
        return cast(Tensor, out.logits[:, -1, : self.vocabulary])

    def refresh(self) -> None:
        """Do nothing, because it uses the model's own weights."""


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(R, 1, T, keys): 0 where a key is seen, else -inf."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)[:, None]


def layer_count(model: PreTrainedModel) -> int:
    """The number of layers that keep keys and values."""
    return cast(int, model.config.get_text_config(decoder=True).num_hidden_layers)
