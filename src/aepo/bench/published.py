"""The published dimensions of models, from their `config.json`. Speed and memory do not depend on the weights."""

from __future__ import annotations

import difflib
import json
from typing import Any

from aepo.files.paths import local

_QWEN3 = {
    "model_type": "qwen3",
    "head_dim": 128,
    "max_position_embeddings": 40_960,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": True,
    "vocab_size": 151_936,
}
_LLAMA3 = {
    "model_type": "llama",
    "max_position_embeddings": 131_072,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 5e5,
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
    },
    "tie_word_embeddings": True,
    "vocab_size": 128_256,
}
_SMOLLM2 = {
    "model_type": "llama",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
    "tie_word_embeddings": True,
    "vocab_size": 49_152,
}


def _size(hidden: int, layers: int, heads: int, inner: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }


PUBLISHED: dict[str, dict[str, Any]] = {
    "smollm2-135m": _SMOLLM2 | _size(576, 30, 9, 1536) | {"num_key_value_heads": 3},
    "smollm2-360m": _SMOLLM2 | _size(960, 32, 15, 2560) | {"num_key_value_heads": 5},
    "qwen3-0.6b": _QWEN3 | _size(1024, 28, 16, 3072),
    "llama-3.2-1b": _LLAMA3 | _size(2048, 16, 32, 8192) | {"head_dim": 64},
    "qwen3-1.7b": _QWEN3 | _size(2048, 28, 16, 6144),
    "llama-3.2-3b": _LLAMA3 | _size(3072, 28, 24, 8192) | {"head_dim": 128},
    "qwen3-4b": _QWEN3 | _size(2560, 36, 32, 9728),
    "qwen3-8b": _QWEN3 | _size(4096, 36, 32, 12_288) | {"tie_word_embeddings": False},
    "qwen3-14b": _QWEN3 | _size(5120, 40, 40, 17_408) | {"tie_word_embeddings": False},
}
"""Dimensions by a short name, from small to large."""


def dimensions(name: str) -> dict[str, Any]:
    """The fields of a model's `config.json`.

    Args:
        name: A name of `PUBLISHED`, or the path of a `config.json`.

    Raises:
        ValueError: The name is neither.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    file = local(name)
    if not file.is_file():
        near = difflib.get_close_matches(name.lower(), PUBLISHED, 1, 0.6)
        hint = f"did you mean {near[0]}?" if near else f"give a config.json, or one of {', '.join(PUBLISHED)}"
        raise ValueError(f"--random {name}: there is no such file and no such size; {hint}")
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--random {name} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise ValueError(f"--random {name} has no model_type: give the config.json of a transformers model")
    return fields
