"""The residual stream of a model in half precision is float32, for whoever reads the model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Olmo2Config

from aepo.engines.local.load import LoadedModel
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.local.residual import widen_residual

IDS = torch.arange(160).reshape(4, 40) * 31 % 90


@torch.no_grad()
def log_softmax(model) -> Tensor:
    return model(input_ids=IDS).logits.float().log_softmax(-1)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square().mean().sqrt())


@pytest.mark.parametrize("architecture", ["llama", "llama-gqa", "qwen2", "qwen3"])
def test_rounding_falls_in_a_deep_model(build, architecture: str) -> None:
    model = build(architecture, num_hidden_layers=24, initializer_range=0.1).bfloat16()
    exact = log_softmax(copy.deepcopy(model).float())
    before = error(log_softmax(model), exact)
    assert widen_residual(model)
    assert error(log_softmax(model), exact) < 0.85 * before


def test_what_is_read_and_given_stays_in_half_precision(build) -> None:
    model = build().bfloat16()
    widen_residual(model)
    seen: dict[str, torch.dtype] = {}
    for name in ("layers.1", "layers.1.self_attn.q_proj", "layers.1.mlp.down_proj", "norm"):
        model.model.get_submodule(name).register_forward_hook(
            lambda module, given, output, name=name: seen.update({name: output.dtype})
        )
    assert model(input_ids=IDS).logits.dtype == torch.bfloat16
    assert seen.pop("layers.1") == torch.float32 and set(seen.values()) == {torch.bfloat16}


def test_a_copy_in_float32_computes_in_float32(build) -> None:
    model = build().bfloat16()
    plain = log_softmax(copy.deepcopy(model).float())
    widen_residual(model)
    assert torch.equal(log_softmax(copy.deepcopy(model).float()), plain)


def test_gradients_arrive_where_they_did(build) -> None:
    model = build().bfloat16()
    exact = copy.deepcopy(model).float()
    widen_residual(model)
    for one in (model, exact):
        one(input_ids=IDS, labels=IDS).loss.backward()
    for (name, ours), theirs in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert ours.grad.dtype == torch.bfloat16, name
        assert torch.cosine_similarity(ours.grad.float().flatten(), theirs.grad.flatten(), 0) > 0.99, name


def test_float32_models_are_left_alone(model) -> None:
    assert not widen_residual(model)
    assert not any(module._forward_hooks for module in model.modules())


def test_it_is_known_without_values(build) -> None:
    """On the device "meta", where the memory of training is counted."""
    assert widen_residual(build().bfloat16().to("meta"))


def test_a_model_whose_layers_read_it_elsewhere_stays_as_it_was() -> None:
    """OLMo 2 has its norms behind attention and feed-forward part, whose matrices read the stream itself."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Olmo2Config(vocab_size=96, pad_token_id=0, bos_token_id=None, eos_token_id=None, **shape)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().bfloat16()
    before = log_softmax(model)
    assert not widen_residual(model)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(log_softmax(model), before)


def test_a_policy_scores_with_it(build, tokenizer) -> None:
    model = build(num_hidden_layers=24, initializer_range=0.1).bfloat16()
    plain, exact = copy.deepcopy(model), ModelLogprobs(copy.deepcopy(model).float(), len(tokenizer))
    wanted = torch.ones_like(IDS)
    wanted[:, 0] = 0
    policy = LocalPolicy(LoadedModel(model, tokenizer, "deep", torch.device("cpu")))
    with torch.no_grad():
        truth = exact.score(IDS, wanted, 1.0)
        ours, before = policy.score(IDS, wanted, 1.0), ModelLogprobs(plain, len(tokenizer)).score(IDS, wanted, 1.0)
    assert error(ours, truth) < 0.85 * error(before, truth)
