"""What is counted on "meta" is what training holds: checked against the same count of real steps on a CPU."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, Qwen3Config, Qwen3MoeConfig

from aepo import config as configuration
from aepo.algorithms import AEPO
from aepo.config import ModelConfig
from aepo.doctor.allocations import Allocations
from aepo.doctor.training_memory import training_memory
from aepo.engines.local.adapters import Lora, add
from aepo.engines.local.load import LoadedModel, checkpoint_activations
from aepo.engines.local.policy import LocalPolicy
from aepo.training.batch import Batch
from aepo.training.optimizer import AdamW
from aepo.training.step import Learner, update
from tests import tiny

WORDS = tiny.tokenizer()
ROWS, LENGTH = 6, 41


def model_config(kind: type[PreTrainedConfig] = Qwen3Config, layers: int = 6) -> PreTrainedConfig:
    return kind(
        vocab_size=len(WORDS),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )


def really_held(settings: ModelConfig, dtype: torch.dtype, layout: str) -> int:
    """Bytes at the worst moment of the second of two optimizer steps of two passes each."""
    with Allocations() as live:
        model = AutoModelForCausalLM.from_config(model_config(), dtype=dtype, attn_implementation="sdpa")
        if settings.lora is not None:
            model = add(model, Lora(settings.lora.rank))
        if settings.gradient_checkpointing:
            checkpoint_activations(model)
        policy = LocalPolicy(LoadedModel(model.eval(), WORDS, "random", torch.device("cpu")))
        tokens_BT = torch.randint(0, len(WORDS), (2 * ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
        mask_BT = torch.ones_like(tokens_BT)
        mask_BT[:, 0] = 0
        groups_B = torch.arange(2 * ROWS) // ROWS
        batch = Batch(tokens_BT, mask_BT, -4.0 * mask_BT, 4.0 * mask_BT, 1.0 * mask_BT, groups_B, groups_B * 0 + LENGTH)
        optimizer = AdamW(policy.parameters(), 1e-6)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        train = [f"train.layout={layout}", f"train.micro_batch_tokens={ROWS * LENGTH}", "train.minibatches=1"]
        learner = Learner(policy, optimizer, schedule, AEPO(), configuration.load(None, train).train)
        for _ in range(2):
            live.peak = live.now
            update(learner, batch, random.Random(0))
    return live.peak


@pytest.mark.parametrize(("dtype", "layout"), [("float32", "tree"), ("bfloat16", "flat")])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("checkpointed", [False, True], ids=["kept", "recomputed"])
def test_the_count_is_that_of_real_steps_within_15_percent(
    checkpointed: bool, lora: bool, dtype: str, layout: str
) -> None:
    lines = [f"model.gradient_checkpointing={str(checkpointed).lower()}", *(["model.lora={rank: 4}"] if lora else [])]
    settings, kind = configuration.load(None, lines).model, getattr(torch, dtype)
    need = training_memory(model_config(), settings, kind, ROWS * (LENGTH - 1))
    assert need.weights + need.held + need.worst == pytest.approx(really_held(settings, kind, layout), rel=0.15)


def test_layers_that_are_left_out_are_counted_as_if_they_were_there() -> None:
    for lines in ([], ["model.gradient_checkpointing=true"]):
        settings = configuration.load(None, lines).model
        three, four, six = (
            training_memory(model_config(layers=n), settings, torch.bfloat16, 4000).worst for n in (3, 4, 6)
        )
        assert six - four == 2 * (four - three) > 0


def test_parameters_optimizer_and_gradients_are_16_bytes_and_fewer_with_small_moments() -> None:
    settings = ModelConfig()
    for dtype in (torch.bfloat16, torch.float32):
        need = training_memory(model_config(), settings, dtype, 10)
        assert need.trained == need.parameters and need.weights + need.held == 16 * need.parameters
        small = training_memory(model_config(), settings, dtype, 10, eight_bit=True)
        assert small.weights + small.held == pytest.approx(10.03125 * need.parameters, abs=1)


def test_the_copies_of_engines_on_a_cpu_are_counted_where_they_are_made() -> None:
    settings = ModelConfig()
    plain = training_memory(model_config(), settings, torch.float32, 10)
    embeddings = model_config().vocab_size * model_config().hidden_size
    assert 0 < plain.copied <= plain.weights - 4 * embeddings
    assert training_memory(model_config(), settings, torch.bfloat16, 10).copied == 0
    lora = configuration.load(None, ["model.lora={rank: 4}"]).model
    assert training_memory(model_config(), lora, torch.float32, 10).copied == 0


def test_adapters_are_all_that_is_trained() -> None:
    need = training_memory(model_config(), configuration.load(None, ["model.lora={rank: 4}"]).model, torch.bfloat16, 10)
    # Adapters are float32 with 12 bytes besides; the other weights have 2 bytes.
    assert need.weights == 2 * (need.parameters - need.trained) + 4 * need.trained
    assert need.held == 12 * need.trained


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen3MoeConfig])
def test_other_families_are_counted_and_the_configuration_stays_as_it_is(kind: type[PreTrainedConfig]) -> None:
    config = model_config(kind)
    few, many = (training_memory(config, ModelConfig(), torch.bfloat16, tokens).worst for tokens in (4000, 8000))
    assert 1.5 * few < many < 2.5 * few and config.num_hidden_layers == 6
