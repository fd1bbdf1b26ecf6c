"""The pass without modules is taken where it gives the model's own logits, and nowhere else."""

from __future__ import annotations

import anyio
import pytest
import torch
from transformers import AutoModelForCausalLM, GemmaConfig, OlmoConfig

from aepo.core.noise import noise_key
from aepo.engines.local import LocalGenerator
from aepo.engines.local.cpu.llama_shaped import direct_model
from aepo.rollout.generator import Stop

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}


@pytest.mark.parametrize("architecture", ["llama", "llama-gqa", "qwen2", "qwen3"])
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": True}, {"attention_bias": True}])
def test_llama_shaped_models_are_taken(architecture, changes, build):
    assert direct_model(build(architecture, **changes)) is not None


@pytest.mark.parametrize("kind", [GemmaConfig, OlmoConfig])
def test_models_of_another_shape_are_left_to_themselves(kind):
    torch.manual_seed(0)
    assert direct_model(AutoModelForCausalLM.from_config(kind(**SMALL), attn_implementation="sdpa")) is None


def test_a_model_that_differs_in_its_arithmetic_is_left_to_itself(model):
    scaling = model.model.layers[1].self_attn.scaling
    model.model.layers[1].self_attn.scaling = 3 * scaling
    assert direct_model(model) is None


def test_adapters_are_left_to_peft(model):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert direct_model(adapted) is None


def test_weights_that_training_changed_are_read_anew(model, tokenizer, monkeypatch):
    engine = LocalGenerator(model, tokenizer)
    monkeypatch.setattr("aepo.engines.local.cpu.forward.direct_model", lambda model: None)
    plain = LocalGenerator(model, tokenizer)

    async def sampled(by: LocalGenerator) -> list[int]:
        async with by:
            return (await by.sample(by.open([5, 6, 7], noise_key("a")), 30, Stop())).tokens

    before = anyio.run(sampled, engine)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.7)
    after = anyio.run(sampled, engine)
    assert after != before
    assert after == anyio.run(sampled, plain)
