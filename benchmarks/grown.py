"""The package's agent inside a model of any larger dimensions: it behaves the same and costs what the large one costs.

A model of random weights never calls a tool, so its rollouts and its rewards say nothing. Here the small agent's
weights are written into the first layers of the large model, and what is beside them writes zeros: the large model
says what the small one says. Ids that the small one does not know are never likely.

    python benchmarks/grown.py qwen3-0.6b FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedConfig

from aepo.bench.published import dimensions
from aepo.bench.random_model import config_from
from aepo.equipment.models import BUILT_IN_MODELS

CONSTANT, AWAY = 0.05, 20.0
"""A value that every token has in the last channel, and what unknown ids have there instead, negated."""
LOUD = 100.0
"""What the last norm makes of that channel."""
SAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)
"""Dimensions that the large model has from the configuration."""


def grow(size: PreTrainedConfig, folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write a model of the dimensions of a configuration, with its tokenizer."""
    small: Any = AutoModelForCausalLM.from_pretrained(BUILT_IN_MODELS["atlas"]).eval()
    old = small.config
    config = LlamaConfig(
        **{name: getattr(size, name) for name in SAME},
        max_position_embeddings=old.max_position_embeddings,
        attention_bias=True,
        rms_norm_eps=old.rms_norm_eps * old.hidden_size / size.hidden_size,
        rope_parameters=old.rope_parameters,
        tie_word_embeddings=True,
        pad_token_id=old.pad_token_id,
        eos_token_id=old.eos_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    large = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for layer in large.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        for layer, given in zip(large.model.layers, small.model.layers, strict=False):
            _write(layer, given, old, size)
        # A norm divides by the root of a mean over more channels now.
        narrower = math.sqrt(old.hidden_size / size.hidden_size)
        for layer, given in zip(large.model.layers, small.model.layers, strict=False):
            for name in ("input_layernorm", "post_attention_layernorm"):
                getattr(layer, name).weight[: old.hidden_size] = getattr(given, name).weight * narrower
                getattr(layer, name).weight[old.hidden_size :] = 0.0
        large.model.norm.weight[: old.hidden_size] = small.model.norm.weight * narrower
        large.model.norm.weight[-1] = LOUD * narrower
        table = large.model.embed_tokens.weight.zero_()
        table[: old.vocab_size, : old.hidden_size] = small.model.embed_tokens.weight
        table[:, -1] = CONSTANT
        known = len(AutoTokenizer.from_pretrained(BUILT_IN_MODELS["atlas"]))
        table[known:, -1] = -AWAY
    large.to(dtype).save_pretrained(folder)
    _save_tokenizer(folder, size.vocab_size)
    return folder


def _write(layer: Any, given: Any, old: Any, size: PreTrainedConfig) -> None:
    """One layer of the agent into one of the large model, whose other heads and inner channels write nothing."""
    ours, theirs = layer.self_attn, given.self_attn
    kept = slice(0, old.hidden_size)
    # Heads that share keys are a group, whose first one is taken, so that each has keys of its own.
    queries = _places(old, size, size.num_attention_heads // size.num_key_value_heads)
    keys = _places(old, size, 1)
    # Scores are divided by the root of the head's width.
    wider = math.sqrt(size.head_dim / old.head_dim)
    for name, rows, factor in (("q", queries, wider), ("k", keys, 1.0), ("v", keys, 1.0)):
        target, source = getattr(ours, f"{name}_proj"), getattr(theirs, f"{name}_proj")
        target.weight[rows] = 0.0
        target.weight[rows, kept] = source.weight * factor
        target.bias.zero_()
        target.bias[rows] = source.bias * factor
        if name in "qk":
            # The head's other channels must not add to its scores.
            silent = torch.ones(target.weight.shape[0], dtype=torch.bool)
            silent[rows] = False
            target.weight[silent] = 0.0
    ours.o_proj.weight[kept, queries] = theirs.o_proj.weight
    ours.o_proj.bias.zero_()
    ours.o_proj.bias[kept] = theirs.o_proj.bias
    for name in ("gate_proj", "up_proj"):
        weight = getattr(layer.mlp, name).weight
        weight[: old.intermediate_size] = 0.0
        weight[: old.intermediate_size, kept] = getattr(given.mlp, name).weight
    layer.mlp.down_proj.weight[kept, : old.intermediate_size] = given.mlp.down_proj.weight


def _places(old: Any, size: PreTrainedConfig, every: int) -> Tensor:
    """Where the channels of the small heads stand, so that each pair turns at the same rate: i of d at i D / d."""
    half, stretch = old.head_dim // 2, size.head_dim // old.head_dim
    first = torch.arange(half) * stretch
    channels = torch.cat([first, first + size.head_dim // 2])
    return (torch.arange(old.num_attention_heads)[:, None] * every * size.head_dim + channels).flatten()


def _save_tokenizer(folder: Path, count: int) -> None:
    """The agent's, with words that no text contains up to a number of ids."""
    source = BUILT_IN_MODELS["atlas"]
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    file = folder / "tokenizer.json"
    kept = json.loads(file.read_text())
    words = kept["model"]["vocab"]
    # Else they would get other ids, behind the new words.
    words |= {token["content"]: token["id"] for token in kept["added_tokens"]}
    taken = set(words.values())
    words |= {f"\u2400{i}": i for i in range(count) if i not in taken}
    file.write_text(json.dumps(kept))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", help="a name that `aepo bench --random` knows, or a config.json")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    grow(config_from(dimensions(arguments.size)), arguments.folder)
