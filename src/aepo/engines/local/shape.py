"""Tells how large a model is from its configuration, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that its memory depends on.

    Attributes:
        parameters: The number of all parameters.
        layers: The number of decoder layers.
        hidden: The width of the residual stream.
        inner: The width inside the feed-forward part.
        heads: The number of query heads times their width.
        pairs: The number of key heads times their width; it is the same for values.
        vocabulary: The number of rows of the output layer.
        positions: The number of tokens that the model was built for; None if the configuration does not say.
    """

    parameters: int
    layers: int
    hidden: int
    inner: int
    heads: int
    pairs: int
    vocabulary: int
    positions: int | None


def shape_of(path: str) -> Shape:
    """The shape of a model in a folder or on the hub.

    Raises:
        ValueError: It has no readable configuration, or is no causal LM.
    """
    from aepo.engines.local.load import load_config

    config = load_config(path)
    try:
        return shape_from(config)
    except (OSError, ValueError) as error:
        raise ValueError(f"model {path}: {(str(error).strip() or type(error).__name__).splitlines()[0]}") from error


def shape_from(config: PreTrainedConfig) -> Shape:
    """The shape of a model with a configuration of transformers.

    Raises:
        ValueError: The configuration is not that of a causal LM.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    text = config.get_text_config(decoder=True)
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    pairs = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return Shape(
        # Tied weights are one parameter.
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        inner=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        heads=text.num_attention_heads * width,
        pairs=pairs * width,
        vocabulary=text.vocab_size,
        positions=getattr(text, "max_position_embeddings", None),
    )
