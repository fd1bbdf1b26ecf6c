"""Finds out which models the local engine can run, by a trial: token by token, logits must be those of one pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from aepo.engines.local.cache import RowCache
from aepo.engines.local.forward import ModelForward, layer_count
from aepo.engines.local.trial import ROOM, TOLERANCE, VOCABULARY, Family, cached_difference, tokens

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KERNELS = ("sdpa", "eager")
NEAR, FAR = 8, 4
"""Tokens at the first positions, and at the last ones."""
WAY_OUT = "take a model of another family, such as Qwen3 or Llama 3, or engine: verl, which samples with vLLM"
DISTANT = 1 << 20
"""A length beyond the longest sequence of any run."""


@dataclass(frozen=True)
class Tried:
    """The result of a small copy's trial.

    Attributes:
        reason: The reason why the family cannot be run; None if it can.
        steady: True if the logits at the first positions do not depend on the tokens that are read with them.
    """

    reason: str | None
    steady: bool = False


def refuse_unsupported(config: PreTrainedConfig, longest: int = 0) -> None:
    """Check, up to a length, that a model gives the same logits token by token through the cache as in one pass.

    Args:
        config: The configuration of the model, or of one that will be loaded with "sdpa".
        longest: The number of tokens of the longest sequence; only positions below it are checked.

    Raises:
        ValueError: It does not; the message names the model, the reason and the way out.
    """
    family = config.model_type
    name = getattr(config, "_name_or_path", "") or family
    if config.is_encoder_decoder:
        raise ValueError(f"{name}: encoder-decoder models cannot be run by the local engine, only causal ones")
    types = getattr(config.get_text_config(decoder=True), "layer_types", None) or []
    for i, layer in enumerate(DynamicCache(config=config).layers):
        if type(layer) is not DynamicLayer:
            sliding = "sliding_attention" if getattr(layer, "is_sliding", False) else type(layer).__name__
            kind = types[i] if i < len(types) else sliding
            raise ValueError(
                f"{name}: layer {i} of {family} is {kind}; the local engine runs full attention only, in every layout: "
                f"{WAY_OUT}"
            )
    tried = Family.of(config)
    if tried.kernel not in KERNELS:
        raise ValueError(
            f'{name}: attention "{tried.kernel}" takes no 4-D mask; load it with attn_implementation="sdpa"'
        )
    found = _tried(tried)
    if found.reason is not None:
        raise ValueError(f"{name}: the local engine cannot run {family}, in any layout: {found.reason}; {WAY_OUT}")
    if not found.steady and (most := _same_up_to(tried, longest)) < longest:
        raise ValueError(
            f"{name}: beyond {most} tokens, what {family} makes of a position depends on how much is read with it (its "
            f"rope does), so that it would be trained on other probabilities than it sampled by; the longest sequence "
            f"has {longest} tokens: lower rollout.max_tokens by {longest - most} or more"
        )


@lru_cache(maxsize=64)
def _tried(family: Family) -> Tried:
    try:
        with family.small_copy() as model:
            try:
                cache = RowCache(layer_count(model), *ROOM)
                difference = cached_difference(model, ModelForward(model, VOCABULARY, cache))
            # If the model fails in any way with a cache that it does not know, it must not be sampled with that cache.
            except Exception as error:
                return Tried(f"reading through a cache fails ({_line(error)})")
            if difference <= TOLERANCE:
                return Tried(None, _steady(model))
            return Tried(f"reading through a cache gives logits that are {difference:.1e} off those of one pass")
    except Exception as error:
        return Tried(_line(error))


@lru_cache(maxsize=64)
def _same_up_to(family: Family, longest: int) -> int:
    """The largest length up to `longest` at which the first positions have the same logits as alone."""
    if longest <= NEAR + FAR:
        return longest
    with family.small_copy() as model:

        def same(length: int) -> bool:
            # The short text comes first, because some ropes remember the longest text until they see a short one.
            alone = _near(model, 0)
            return bool((_near(model, length) - alone).abs().max() <= TOLERANCE)

        if same(longest):
            return longest
        good, bad = NEAR + FAR, longest
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if same(middle) else (good, middle)
        return good


def _steady(model: PreTrainedModel) -> bool:
    try:
        return bool((_near(model, DISTANT) - _near(model, 0)).abs().max() <= TOLERANCE)
    except (IndexError, RuntimeError):  # a table of positions has an end
        return False


def _near(model: PreTrainedModel, length: int) -> Tensor:
    """(NEAR, V): logits at the first positions, read together with the last ones of a length; 0 reads them alone."""
    places = [*range(NEAR), *range(length - FAR, length)] if length else [*range(NEAR)]
    seen = torch.ones(len(places), len(places)).tril() == 1
    mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    return cast(
        Tensor,
        model(
            input_ids=tokens(1, len(places)),
            attention_mask=mask[None, None],
            position_ids=torch.tensor([places]),
            use_cache=False,
        ).logits[0, :NEAR],
    )


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
