"""Which families are run and which are refused, found by trying small copies of them, and what is said of them."""

from __future__ import annotations

import anyio
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig

from aepo.core.noise import noise_key
from aepo.engines.local import GeneratorSettings, LocalGenerator
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.supported import refuse_unsupported
from tests.engines.test_generator import FREE, VOCABULARY, gather, prompt

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
LATENT = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "num_key_value_heads": 4,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
FULL = {"layer_types": ["full_attention"] * 4, "head_dim": 16}


def rope(kind: str, **settings: object) -> dict[str, object]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **settings}}


LONG = rope(
    "longrope", short_factor=[1.0] * 8, long_factor=[1.0 + i for i in range(8)], original_max_position_embeddings=64
)
RUN = {
    "Llama": {},
    "Llama 3's rope": rope(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
    ),
    "Llama with yarn": rope("yarn", factor=4.0, original_max_position_embeddings=64),
    "Llama with linear": rope("linear", factor=4.0),
    "Qwen2": {},
    "Qwen3": {"head_dim": 16},
    "Qwen3Moe": {**EXPERTS, "head_dim": 16},
    "Mixtral": {"num_local_experts": 4},
    "Mistral without a window": {"sliding_window": None},
    "Gemma": {"head_dim": 16},
    "SmolLM3": {},
    "Olmo2": {},
    "Cohere": {},
    "Granite": {"logits_scaling": 3.0},
    "Glm4": {"head_dim": 16},
    "GPT2": {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": 1024},
    "GPTNeoX": {},
    "OPT": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "Falcon": {"alibi": False},
    "DeepseekV3": LATENT,
}
REFUSED = {
    "Gemma3Text": ({"head_dim": 16}, r"layer 0 of gemma3_text is sliding_attention"),
    "Gemma2": ({"head_dim": 16}, r"layer 0 of gemma2 is sliding_attention"),
    "Gemma2 without windows": (FULL, r'gemma2, in any layout: transformers has no attention "sdpa" for it'),
    "GptOss without windows": ({**FULL, **EXPERTS, "num_local_experts": 4}, r'gpt_oss, .* no attention "sdpa" for it'),
    "Mistral": ({}, r"layer 0 of mistral is sliding_attention"),
    "Olmo3": ({}, r"layer 0 of olmo3 is sliding_attention"),
    "Llama4Text": ({"head_dim": 16, "num_local_experts": 2}, r"layer 0 of llama4_text is chunked_attention"),
    "Lfm2": ({"layer_types": ["full_attention", "conv"] * 2}, r"layer 1 of lfm2 is conv"),
    "Mamba": ({}, r"layer 0 of mamba is linear_attention"),
    "Jamba": ({}, r"of jamba is linear_attention"),
    "Bloom": ({}, r"bloom, in any layout"),
    "Falcon": ({"alibi": True}, r"falcon, in any layout: its positions are distances \(ALiBi\)"),
    "T5": ({}, "encoder-decoder models cannot be run"),
}
LENGTHS = {
    "Phi3": ({**LONG, "original_max_position_embeddings": 64, "sliding_window": None}, 64),
    "Llama with longrope": (LONG, 64),
    "Llama with dynamic": ({**rope("dynamic", factor=4.0), "max_position_embeddings": 128}, 128),
}


def configuration(family: str, settings: dict[str, object]) -> PreTrainedConfig:
    return getattr(transformers, f"{family.split()[0]}Config")(**{**SHAPE, **settings})


@pytest.mark.parametrize("family", RUN)
def test_a_family_that_is_run_is_scored_as_it_sampled(family: str, tokenizer) -> None:
    config = configuration(family, RUN[family])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_length=200))
    scorer = ModelLogprobs(model, VOCABULARY)

    async def grow(number: int) -> float:
        row = engine.open(prompt(number, 3 + 20 * number), noise_key(number))
        worst = 0.0
        for turn in range(2):
            start = row.length
            sampled = await engine.sample(row, 20, FREE)
            tokens, wanted = torch.tensor([row.tokens]), torch.zeros(1, row.length)
            wanted[:, start:] = 1
            scores = scorer.score(tokens, wanted, 1.0)[0, start:]
            worst = max(worst, float((scores - torch.tensor(sampled.logprobs)).abs().max()))
            engine.extend(row, prompt(100 + turn, 9))
        return worst

    async def main() -> list[float]:
        async with engine:
            return await gather(*(grow(number) for number in range(3)))

    assert max(anyio.run(main)) < 1e-4


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_that_cannot_be_run_is_refused_in_one_line_that_advises_no_layout(family: str) -> None:
    settings, reason = REFUSED[family]
    with pytest.raises(ValueError, match=reason) as refused:
        refuse_unsupported(configuration(family, settings))
    assert "\n" not in str(refused.value) and "train.layout" not in str(refused.value)


@pytest.mark.parametrize("family", LENGTHS)
def test_positions_that_depend_on_the_length_are_refused_from_there_on(family: str) -> None:
    settings, most = LENGTHS[family]
    config = configuration(family, settings)
    refuse_unsupported(config, most)
    with pytest.raises(
        ValueError, match=rf"beyond {most} tokens, .* has {most + 40} tokens: .*max_tokens by 40 or more"
    ):
        refuse_unsupported(config, most + 40)


def test_what_is_refused_by_its_length_is_scored_otherwise(build) -> None:
    """The reason of the refusal, on a model itself."""
    model = build(
        "llama",
        **{
            **LONG,
            "rope_parameters": {
                **LONG["rope_parameters"],
                "short_factor": [1.0] * 4,
                "long_factor": [1.0, 2.0, 3.0, 4.0],
            },
        },
    )
    short = torch.tensor([prompt(1, 64)])
    long = torch.cat([short, short[:, :1]], 1)
    wanted = torch.ones(1, 64)
    wanted[:, 0] = 0
    scorer = ModelLogprobs(model, VOCABULARY)
    alone = scorer.score(short, wanted, 1.0)
    together = scorer.score(torch.cat([long, short[:, :1]], 1), torch.nn.functional.pad(wanted, (0, 2)), 1.0)[:, :64]
    assert (alone - together).abs().max() > 0.1


def test_trying_disturbs_nobodys_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    refuse_unsupported(configuration("Qwen2", {"hidden_size": 32}), 100)
    assert torch.equal(torch.rand(3), expected)
