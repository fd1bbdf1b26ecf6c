"""Models of published dimensions with random weights, since speed and memory do not depend on the weights."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen3Config

from aepo.engines.local.adapters import Lora, add
from aepo.engines.local.load import LoadedModel
from aepo.engines.local.policy import LocalPolicy


@dataclass(frozen=True)
class Dimensions:
    """Dimensions of a Qwen3 model.

    Attributes:
        hidden: Width of the residual stream.
        layers: Decoder layers.
        heads: Query heads.
        pairs: Key-value heads.
        inner: Width inside the feed-forward part.
        tied: Whether the output layer is the embedding.
        head: Width of a head.
        vocabulary: Rows of the output layer.
        spoken: Tokens of the tokenizer.
    """

    hidden: int
    layers: int
    heads: int
    pairs: int
    inner: int
    tied: bool = True
    head: int = 128
    vocabulary: int = 151_936
    spoken: int = 151_669


SIZES = {
    "toy": Dimensions(256, 5, 8, 4, 512, vocabulary=4_096, spoken=4_000),
    "qwen3-0.6b": Dimensions(1024, 28, 16, 8, 3072),
    "qwen3-1.7b": Dimensions(2048, 28, 16, 8, 6144),
    "qwen3-4b": Dimensions(2560, 36, 32, 8, 9728),
    "qwen3-8b": Dimensions(4096, 36, 32, 8, 12288, tied=False),
    "qwen3-14b": Dimensions(5120, 40, 40, 8, 17408, tied=False),
}
"""Dimensions from the `config.json` of models on the hub; "toy" is not a published model."""


def config_of(size: Dimensions) -> Qwen3Config:
    """The model's configuration for transformers."""
    return Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.pairs,
        head_dim=size.head,
        max_position_embeddings=40_960,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=size.tied,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )


def random_policy(
    size: Dimensions, device: torch.device, dtype: torch.dtype, lora: Lora | None = None, seed: int = 0
) -> LocalPolicy:
    """A model with weights as at the start of pretraining, and a tokenizer with one word per id."""
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config_of(size), dtype=dtype, attn_implementation="sdpa")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(size.spoken)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w1")
    model = (model if lora is None else add(model, lora)).to(device)
    return LocalPolicy(LoadedModel(model.eval(), tokenizer, "random", device))
