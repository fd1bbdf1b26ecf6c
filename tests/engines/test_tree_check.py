"""Which models may be trained on trees: rounding refuses none, a wrong tree always does."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconConfig, Gemma2Config

from aepo.engines.local import logprobs
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.tree_check import LAYERS, first_layers, refuse_tree, tree_difference

VOCABULARY = 90  # of the model's 96 rows


def sharp(build, architecture: str = "qwen3"):
    """In bfloat16, with logits as far apart as those of a real model."""
    model = build(architecture, num_hidden_layers=6)
    model.lm_head.weight.data *= 8
    return model.bfloat16()


@pytest.mark.parametrize("architecture", ["llama", "llama-gqa", "qwen2", "qwen3"])
def test_rounding_is_no_reason_to_refuse(build, architecture: str) -> None:
    model = sharp(build, architecture)
    assert tree_difference(ModelLogprobs(model, VOCABULARY)) > 0.1, (
        "as it is, it rounds more than a wrong tree may differ"
    )
    refuse_tree(model, VOCABULARY)
    refuse_tree(model, VOCABULARY, [5, 3, 8] * 20)
    assert model.dtype == torch.bfloat16 and len(model.model.layers) == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_that_is_not_the_trees_is_refused(build, monkeypatch, dtype: torch.dtype) -> None:
    usual = logprobs.attention_of
    monkeypatch.setattr(logprobs, "attention_of", lambda until_N: usual(torch.full_like(until_N, len(until_N))))
    with pytest.raises(ValueError, match=r"cannot be trained on trees: their scores are .* off those of sequences"):
        refuse_tree(sharp(build).to(dtype), VOCABULARY)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_that_are_not_the_trees_are_refused(build, dtype: torch.dtype) -> None:
    model = sharp(build).to(dtype)
    turned = model.model.rotary_emb.forward
    model.model.rotary_emb.forward = lambda x, position_ids: turned(x, torch.arange(x.shape[1])[None])
    with pytest.raises(ValueError, match=r"cannot be trained on trees: their scores are .* off those of sequences"):
        refuse_tree(model, VOCABULARY)


def test_it_is_tried_on_a_copy_of_the_first_layers(build) -> None:
    model = sharp(build)
    tried = first_layers(model)
    assert len(tried.model.layers) == LAYERS and {p.dtype for p in tried.parameters()} == {torch.float32}
    assert tried.model.layers[0] is not model.model.layers[0]


def test_a_model_whose_attention_cannot_be_replaced_is_refused_by_name(build) -> None:
    settings = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    gemma = AutoModelForCausalLM.from_config(
        Gemma2Config(vocab_size=96, num_key_value_heads=1, head_dim=16, pad_token_id=0, **settings)
    )
    with pytest.raises(
        ValueError, match=r"gemma2 is sliding_attention.*in every layout: take a model of another family"
    ):
        refuse_tree(gemma, VOCABULARY)
    model = build()
    model.config._attn_implementation = "eager"
    with pytest.raises(ValueError, match=r'its attention is "eager", not "sdpa"; set train\.layout: flat'):
        refuse_tree(model, VOCABULARY)


def test_a_model_that_does_not_hand_the_plan_on_is_refused_by_name() -> None:
    config = FalconConfig(vocab_size=96, hidden_size=32, num_attention_heads=4, num_hidden_layers=2)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    with pytest.raises(ValueError, match="FalconForCausalLM cannot be trained on trees: their scores are nan off"):
        refuse_tree(model, VOCABULARY)
