"""Trains the small model from scratch, first on the curriculum, then on demonstrations."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from aepo.warmstart.curriculum import copy_batches


@dataclass(frozen=True)
class Copies:
    """The amount of training on copies of random tokens; 0 steps leave it out."""

    steps: int = 450
    rows: int = 48
    length: int = 96


@dataclass(frozen=True)
class Demonstrations:
    """The amount of training on demonstrations.

    Attributes:
        steps: Steps in which the learning rate rises and falls once.
        more: Steps after them, in which it rises and falls again.
        rows: Number of demonstrations in a step.
    """

    steps: int = 2600
    more: int = 0
    rows: int = 48


@dataclass(frozen=True)
class Optimization:
    """The settings of Adam. The learning rate rises over `warmup` steps, then falls to `final_share` of itself."""

    learning_rate: float = 3e-3
    warmup: int = 50
    final_share: float = 0.05
    weight_decay: float = 0.02


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run that do not depend on the task."""

    vocab_size: int = 1536
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    heads: int = 4
    head_dim: int = 64
    initializer_range: float = 0.03
    look_back: int = 3
    copies: Copies = Copies()
    demonstrations: Demonstrations = Demonstrations()
    optimization: Optimization = Optimization()
    seed: int = 0


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make a Llama with random weights; `look_back` heads of its first layer attend a fixed number of tokens back."""
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            head_dim=recipe.head_dim,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            initializer_range=recipe.initializer_range,
            # `look_back` sets the biases of queries and keys.
            attention_bias=True,
        )
    )
    for head in range(recipe.look_back):
        look_back(model, head, distance=head + 1)
    return model


@torch.no_grad()
def look_back(model: LlamaForCausalLM, head: int, distance: int, sharpness: float = 8.0, frequencies: int = 8) -> None:
    """Set a head of the first layer so that it attends to the token `distance` places before, already before training.

    With rotary positions the biases are enough: score(i, j) = sum_d sharpness^2 cos((i - j - distance) theta_d), over
    the fastest rotations. To copy, a model must combine a token with the tokens before it; this head does the first
    half of that.
    """
    attention = model.model.layers[0].self_attn
    size = attention.head_dim
    half = size // 2
    theta = float(model.config.rope_parameters["rope_theta"]) ** (-torch.arange(half) * 2 / size)
    weight = torch.where(torch.arange(half) < frequencies, sharpness, 0.0)
    start = head * size
    attention.q_proj.bias[start : start + half] = weight * torch.cos(-distance * theta)
    attention.q_proj.bias[start + half : start + size] = weight * torch.sin(-distance * theta)
    attention.k_proj.bias[start : start + half] = weight
    attention.k_proj.bias[start + half : start + size] = 0.0


def fit(
    model: LlamaForCausalLM,
    batches: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    how: Optimization,
    report: Callable[[str], None],
    after: Callable[[int], None] | None = None,
) -> None:
    """Train by Adam on the masked cross-entropy; the rate rises linearly, then falls as a cosine to `final_share`."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=how.learning_rate, betas=(0.9, 0.98), weight_decay=how.weight_decay
    )
    floor = how.final_share

    def rate(step: int) -> float:
        progress = min(1.0, step / steps)
        cosine = floor + (1 - floor) * 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))
        return min(1.0, (step + 1) / how.warmup) * cosine

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    began, tokens, total, right = time.monotonic(), 0, 0.0, 0.0
    for step in range(1, steps + 1):
        ids, mask = next(batches)
        hidden = model.model(ids[:, :-1]).last_hidden_state
        wanted = mask[:, 1:]
        logits = model.lm_head(hidden[wanted])
        target = ids[:, 1:][wanted]
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tokens += ids.numel()
        total += loss.item()
        right += (logits.argmax(-1) == target).float().mean().item()
        if step % 50 == 0:
            speed = tokens / (time.monotonic() - began)
            report(f"step {step}/{steps} loss {total / 50:.3f} accuracy {right / 50:.3f} {speed:.0f} tokens/s")
            total = right = 0.0
        if after is not None:
            after(step)


def train_model(
    out: Path,
    tokenizer: PreTrainedTokenizerFast,
    demonstrations: Iterator[tuple[Tensor, Tensor]],
    recipe: Recipe,
    report: Callable[[str], None],
) -> None:
    """Train a new model, and save it to `out` with its tokenizer and the recipe.

    Args:
        out: Folder of the result.
        tokenizer: The model's tokenizer.
        demonstrations: Batches (ids, mask) without end; see `episode_batches`.
        recipe: All settings of the run.
        report: A function that takes lines about the progress.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    model = new_model(recipe, tokenizer)
    report(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")

    if recipe.copies.steps:
        generator = torch.Generator().manual_seed(recipe.seed)
        copies = copy_batches(len(tokenizer), 6, recipe.copies.rows, recipe.copies.length, generator)
        report("curriculum: copies of random tokens")
        fit(model, copies, recipe.copies.steps, recipe.optimization, report)
        model.save_pretrained(out)

    report("demonstrations")

    def keep(step: int) -> None:
        if step % 250 == 0:
            model.save_pretrained(out)

    for steps in filter(None, (recipe.demonstrations.steps, recipe.demonstrations.more)):
        fit(model, demonstrations, steps, recipe.optimization, report, keep)
    model.save_pretrained(out)
    (out / "recipe.json").write_text(json.dumps(recipe, default=vars, indent=1) + "\n")
