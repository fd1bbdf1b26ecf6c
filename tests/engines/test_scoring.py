"""Scores are the log-softmax of the model's own logits, and gradients are theirs, however they are computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, GraniteConfig

from aepo.core.trie import trie
from aepo.engines.local.adapters import Lora
from aepo.engines.local.load import load_policy
from aepo.engines.local.logprobs import FrozenLogprobs, ModelLogprobs
from aepo.engines.local.policy import LocalPolicy

VOCABULARY = 90  # of the model's 96 rows
TOKENS = torch.randint(0, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(1))
WANTED = torch.tensor([[0] * 3 + [1] * 9, [0] * 5 + [1, 0, 1] + [0] * 4, [0] + [1] * 11])


def capped(**changes: object):
    """Gemma 2: logits are not the output layer's, but tanh of them."""
    settings = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "initializer_range": 0.3,
        "final_logit_softcapping": 4.0,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(Gemma2Config(**{**settings, **changes})).eval()


def scaled():
    """Granite: logits are not the output layer's, but a fraction of them."""
    settings = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "initializer_range": 0.3,
        "logits_scaling": 3.0,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(GraniteConfig(**settings), attn_implementation="sdpa").eval()


def plainly(model, temperature: float) -> Tensor:
    """Log-softmax of all logits, by definition."""
    logits = model(input_ids=TOKENS).logits[:, :-1, :VOCABULARY].float()
    logp = torch.log_softmax(logits / temperature, -1).gather(-1, TOKENS[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(logp, (1, 0)) * WANTED


def gradients(model, scores: Tensor) -> Tensor:
    model.zero_grad()
    weights = torch.linspace(-1, 1, scores.numel()).view_as(scores)
    (scores * weights).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "tied", "capped"])
def test_a_score_is_the_log_softmax_of_the_models_logits(build, kind: str, temperature: float) -> None:
    changes = {"tie_word_embeddings": True} if kind == "tied" else {}
    model = capped() if kind == "capped" else build("llama" if kind == "tied" else kind, **changes)
    scorer = ModelLogprobs(model, VOCABULARY)
    assert scorer.head is not None
    scores = scorer.score(TOKENS, WANTED, temperature)
    assert torch.allclose(scores, plainly(model, temperature), atol=1e-5)
    assert not scores[WANTED == 0].any() and (scores[WANTED == 1] < 0).all()
    ours, theirs = gradients(model, scores), gradients(model, plainly(model, temperature))
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max() and theirs.abs().max() > 0.1


@pytest.mark.parametrize("kind", ["plain", "capped"])
def test_what_follows_a_row_changes_nothing(build, kind: str) -> None:
    scorer = ModelLogprobs(capped() if kind == "capped" else build(), VOCABULARY)
    scores = scorer.score(TOKENS, WANTED, 1.0)
    longer = torch.cat([TOKENS, torch.full((3, 7), 5)], 1)
    padded = scorer.score(longer, torch.nn.functional.pad(WANTED, (0, 7)), 1.0)
    assert torch.allclose(padded[:, :12], scores, atol=1e-5) and not padded[:, 12:].any()


def test_a_frozen_model_stays_as_it_was(build) -> None:
    model = build()
    frozen, before = (
        FrozenLogprobs(model, VOCABULARY),
        ModelLogprobs(model, VOCABULARY).score(TOKENS, WANTED, 1.0).detach(),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    scores = frozen.score(TOKENS, WANTED, 1.0)
    assert torch.equal(scores, before) and not scores.requires_grad
    assert not torch.allclose(ModelLogprobs(model, VOCABULARY).score(TOKENS, WANTED, 1.0), before, atol=1e-2)


@pytest.fixture
def folder(tmp_path: Path, build, words) -> Path:
    build().save_pretrained(tmp_path / "model")
    words(VOCABULARY).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def trained(policy: LocalPolicy) -> None:
    """Two optimizer steps."""
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        policy.score(TOKENS, WANTED, 1.0).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_are_all_that_is_trained(folder: Path, tmp_path: Path, checkpointing: bool) -> None:
    loaded = load_policy(folder, device="cpu", lora=Lora(rank=2), gradient_checkpointing=checkpointing)
    policy = LocalPolicy(loaded)
    base = {name: p.detach().clone() for name, p in policy.model.named_parameters() if "lora" not in name}
    assert len(list(policy.parameters())) == len(list(policy.model.parameters())) - len(base)
    frozen = policy.frozen()
    before = policy.score(TOKENS, WANTED, 1.0).detach()
    trained(policy)
    after = policy.score(TOKENS, WANTED, 1.0).detach()
    assert (after - before).abs().max() > 0.01
    for name, parameter in policy.model.named_parameters():
        assert "lora" in name or torch.equal(parameter, base[name]), name
    assert torch.equal(frozen.score(TOKENS, WANTED, 1.0), before), "without its adapters the model is the reference"
    assert torch.equal(policy.score(TOKENS, WANTED, 1.0), after), "asking the reference must not switch adapters off"

    policy.save(tmp_path / "saved")
    other = LocalPolicy(load_policy(folder, device="cpu", lora=Lora(rank=2)))
    other.restore(tmp_path / "saved")
    assert torch.equal(other.score(TOKENS, WANTED, 1.0), after)


def test_all_weights_come_back_from_what_was_saved(folder: Path, tmp_path: Path) -> None:
    policy, other = (LocalPolicy(load_policy(folder, device="cpu")) for _ in range(2))
    trained(policy)
    policy.save(tmp_path / "saved")
    other.restore(tmp_path / "saved")
    for ours, theirs in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def layer_calls(policy: LocalPolicy) -> list[int]:
    """One entry a forward pass through the first layer's attention, filled as it is used."""
    calls: list[int] = []
    policy.model.model.layers[0].self_attn.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_checkpointed_activations_give_equal_gradients(folder: Path) -> None:
    found = []
    for checkpointing in (False, True):
        policy = LocalPolicy(load_policy(folder, device="cpu", gradient_checkpointing=checkpointing))
        calls = layer_calls(policy)
        found.append(gradients(policy.model, policy.score(TOKENS, WANTED, 0.7)))
        assert len(calls) == 1 + checkpointing, "activations are computed again in the backward pass"
    assert torch.equal(*found)


def test_checkpointing_does_not_switch_dropout_on(tmp_path: Path, build, words) -> None:
    build(attention_dropout=0.5).save_pretrained(tmp_path)
    words(VOCABULARY).save_pretrained(tmp_path)
    plain, checkpointed = (
        LocalPolicy(load_policy(tmp_path, device="cpu", gradient_checkpointing=on)) for on in (False, True)
    )
    calls = layer_calls(checkpointed)
    scores = checkpointed.score(TOKENS, WANTED, 1.0)
    assert torch.equal(scores, plain.score(TOKENS, WANTED, 1.0))
    scores.sum().backward()
    assert len(calls) == 2


SHARED = TOKENS.clone()
SHARED[1, :5], SHARED[2, :9] = SHARED[0, :5], SHARED[0, :9]


def on_tree(scorer, tokens: Tensor = SHARED, wanted: Tensor = WANTED, temperature: float = 1.0) -> Tensor:
    """`score`, through the trie of the rows."""
    tree = trie(tokens[:, :-1], torch.full((len(tokens),), tokens.shape[1] - 1), torch.zeros(len(tokens)))
    row, position = (wanted != 0).nonzero(as_tuple=True)
    picked = scorer.score_tree(tree, tree.places_BT[row, position - 1], tokens[row, position], temperature)
    return picked.new_zeros(tokens.shape).masked_scatter(wanted != 0, picked)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("kind", ["llama", "llama-gqa", "qwen2", "qwen3", "scaled"])
def test_scores_and_gradients_on_the_tree_are_those_of_whole_rows(build, kind: str, temperature: float) -> None:
    model = scaled() if kind == "scaled" else build(kind)
    scorer = ModelLogprobs(model, VOCABULARY)
    assert scorer.head is not None
    ours, theirs = on_tree(scorer, temperature=temperature), scorer.score(SHARED, WANTED, temperature)
    assert torch.allclose(ours, theirs, atol=1e-5)
    ours, theirs = gradients(model, ours), gradients(model, theirs)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max() and theirs.abs().max() > 0.1


@pytest.mark.parametrize("checkpointing", [False, True])
def test_on_the_tree_adapters_are_trained_and_left_out_of_the_reference(folder: Path, checkpointing: bool) -> None:
    loaded = load_policy(folder, device="cpu", lora=Lora(rank=2), gradient_checkpointing=checkpointing)
    policy = LocalPolicy(loaded)
    frozen, before = policy.frozen(), policy.score(SHARED, WANTED, 1.0).detach()
    trained(policy)
    ours, theirs = on_tree(policy), policy.score(SHARED, WANTED, 1.0)
    assert torch.allclose(ours, theirs, atol=1e-5) and (ours - before).abs().max() > 0.01
    ours, theirs = gradients(policy.model, ours), gradients(policy.model, theirs)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    reference = on_tree(frozen)
    assert torch.allclose(reference, before, atol=1e-5) and not reference.requires_grad


def test_checkpointed_activations_give_equal_gradients_on_the_tree(folder: Path) -> None:
    found = []
    for checkpointing in (False, True):
        policy = LocalPolicy(load_policy(folder, device="cpu", gradient_checkpointing=checkpointing))
        calls = layer_calls(policy)
        found.append(gradients(policy.model, on_tree(policy)))
        assert len(calls) == 1 + checkpointing, "the plan must still be there in the backward pass"
    assert torch.equal(*found)
