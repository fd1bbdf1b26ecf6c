"""What reads tokens on in rows of a cache: a model's own modules, or something that gives the same."""

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
        call_tokens: Padded tokens that one call should have at most.
        device: Where the model is.
    """

    call_tokens: int
    device: torch.device

    @property
    def cache(self) -> RowCache:
        """Keys and values of what was read."""
        ...

    def __call__(self, ids: Tensor, seen: Tensor, call: CacheCall) -> Tensor:
        """(R, V) logits after each row's last token.

        Args:
            ids: (R, T), padded on the left.
            seen: (R, T, keys) bool: which keys each token sees.
            call: Where the rows lie, and what is written.
        """
        ...

    def refresh(self) -> None:
        """Take the model's weights as they are now."""
        ...


class ModelForward:
    """By the model's own modules and kernels: what a GPU runs (a `Forward`).

    Args:
        model: A causal LM all of whose layers are full attention.
        vocabulary: Ids that may be sampled: those below.
        cache: As many layers as the model has.
        call_tokens: Padded tokens that one call should have at most.
    """

    def __init__(
        self, model: PreTrainedModel, vocabulary: int, cache: RowCache, call_tokens: int = CALL_TOKENS
    ) -> None:
        self.model, self.vocabulary, self.cache, self.call_tokens = model, vocabulary, cache, call_tokens
        self.device = model.device
        self._head = find_head(model, vocabulary)
        # Its logits are computed here, in float32, where it is known how.
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
        """Nothing: its weights are the model's."""


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(R, 1, T, keys): 0 where a key is seen, else -inf."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)[:, None]


def layer_count(model: PreTrainedModel) -> int:
    """Layers that keep keys and values."""
    return cast(int, model.config.get_text_config(decoder=True).num_hidden_layers)
