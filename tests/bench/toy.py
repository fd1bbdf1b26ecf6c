"""Dimensions of a model that is measured in a moment."""

from __future__ import annotations

from pathlib import Path

from aepo import config as configuration
from aepo.bench.subject import Subject

FILE = Path(__file__).parents[2] / "benchmarks" / "toy" / "config.json"
DIMENSIONS = {
    "model_type": "qwen3",
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 64,
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "vocab_size": 512,
}


def subject(*settings: str) -> Subject:
    """The toy with random weights, on one thread."""
    return Subject("toy", configuration.load(None, ["train.threads=1", *settings]), DIMENSIONS)
