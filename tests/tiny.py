"""A model of a few thousand weights that calls a tool now and then, and tasks for it.

It is a table of which token follows which, written into the weights of a Llama whose two random layers disturb it. So
trajectories have tool calls, branches, answers and broken formats without any training.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import aepo

ASKED, ANSWERED = "abcdefgh", "ijklmnop"
"""What is written inside <search>, and inside <answer>."""
TAGS = tuple(f"<{slash}{tag}>" for tag in ("think", "search", "result", "answer") for slash in ("", "/"))
SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
HIDDEN = 64
FOLLOWS: dict[str, dict[str, float]] = {
    "<|assistant|>": {"<search>": 0.9, "<answer>": 0.1},
    "<search>": {**dict.fromkeys(ASKED, 0.11), "</search>": 0.02},
    "</result>": {"<search>": 0.45, "<answer>": 0.5},
    "<answer>": dict.fromkeys(ANSWERED, 0.12),
    **{letter: {**dict.fromkeys(ASKED, 0.05), "</search>": 0.5, "<result>": 0.01} for letter in ASKED},
    **{letter: {**dict.fromkeys(ANSWERED, 0.05), "</answer>": 0.5, "<think>": 0.01} for letter in ANSWERED},
}


def tokenizer() -> Any:
    """One token a character, tag and role."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from aepo.warmstart.tokenizer import CHAT_TEMPLATE

    characters = [*SPECIAL, *ASKED, *ANSWERED, "?", " "]
    made = Tokenizer(models.WordLevel({text: i for i, text in enumerate(characters)}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.decoder = decoders.Fuse()
    made.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[1],
        additional_special_tokens=list(SPECIAL[2:]),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_model(folder: Path, disturbance: float = 0.025, head_dim: int = 32) -> Path:
    """Write the model to `folder`; other engines have kernels for some head dimensions only."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    words = tokenizer()
    ids = words.get_vocab()
    config = LlamaConfig(
        vocab_size=len(words) + 2,
        hidden_size=HIDDEN,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=head_dim,
        max_position_embeddings=512,
        initializer_range=disturbance,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    table = torch.full((config.vocab_size, HIDDEN), math.log(0.002))
    for before, after in FOLLOWS.items():
        for token, share in after.items():
            table[ids[token], ids[before]] = math.log(share)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(config.vocab_size, HIDDEN))
        # The last norm makes a unit vector sqrt(HIDDEN) long.
        model.lm_head.weight.copy_(table / math.sqrt(HIDDEN))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def on_call() -> None:
    """Replaced by tests that must know of a call."""


@aepo.tool(timeout=600)
def search(query: str) -> str:
    """Look something up.

    Args:
        query: What to look up.
    """
    on_call()
    return query[::-1][:4]


def early(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
    """1 for an answer that begins with one of the first four letters, 0.25 for any other."""
    if trajectory.answer is None:
        return 0.0
    return 1.0 if trajectory.answer[0] in ANSWERED[:4] else 0.25


def samples(count: int) -> list[aepo.Sample]:
    """Questions of two letters."""
    return [aepo.Sample(f"{ASKED[i % 8]}{ASKED[i // 8]}", target="i", id=f"q{i}") for i in range(count)]


def letters(count: int = 5, held_out: int = 2) -> aepo.Task:
    """The task that the tests train on."""
    questions = samples(count + held_out)
    return aepo.Task("letters", questions[:count], [search], early, questions[count:], system="")


def settings(run: Path, model: Path, *overrides: str) -> list[str]:
    """Overrides of a run that takes a fraction of a second a step."""
    return [
        f"run={run}",
        f"model.path={model}",
        "task.name=tests.tiny:letters",
        "algorithm.group_size=6",
        "algorithm.entropy_window=3",
        "algorithm.tau=0.5",
        "rollout.questions=2",
        "rollout.max_tokens=40",
        "rollout.max_tool_calls=3",
        "rollout.deterministic=true",
        "train.threads=1",
        "train.steps=5",
        "train.learning_rate=2e-3",
        "train.warmup=1",
        "train.minibatches=2",
        "train.checkpoint_every=2",
        "train.trees_every=1",
        "evaluation.every=2",
        "evaluation.samples=2",
        *overrides,
    ]
