"""Which models the row cache can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from transformers.cache_utils import DynamicCache, DynamicLayer

from aepo.engines.local import tree_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def layer_count(model: PreTrainedModel) -> int:
    """Layers that keep keys and values."""
    return cast(int, model.config.get_text_config(decoder=True).num_hidden_layers)


def refuse_unsupported(model: PreTrainedModel) -> None:
    """Check that every layer is plain full attention over all positions, with a kernel that takes a 4-D mask.

    Raises:
        ValueError: It is not; names the model and the layer type.
    """
    config = model.config
    name = getattr(config, "_name_or_path", "") or type(model).__name__
    if config.is_encoder_decoder:
        raise ValueError(f"{name}: encoder-decoder models cannot be run by the local engine, only causal ones")
    cache = DynamicCache(config=config)
    types = getattr(config.get_text_config(decoder=True), "layer_types", None) or []
    if not cache.layers or len(cache.layers) != layer_count(model):
        raise ValueError(f"{name}: its cache has {len(cache.layers)} layers for {layer_count(model)} of the model")
    for i, layer in enumerate(cache.layers):
        kind = types[i] if i < len(types) else type(layer).__name__
        if type(layer) is not DynamicLayer:
            raise ValueError(f"{name}: layer {i} is {kind}; the local engine runs full attention only")
    kernel = config._attn_implementation
    if kernel not in ("sdpa", "eager", tree_attention.NAME):
        raise ValueError(f'{name}: attention "{kernel}" takes no 4-D mask; load it with attn_implementation="sdpa"')
