"""The new model looks back before it is trained, and training learns, and gives the same model again."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from aepo.warmstart.episode import Episode, Segment, episode_batches
from aepo.warmstart.tokenizer import train_tokenizer
from aepo.warmstart.train import Copies, Demonstrations, Recipe, look_back, new_model, train_model

SMALL = Recipe(hidden_size=32, layers=2, copies=Copies(2, 4, 48), demonstrations=Demonstrations(100, 8))


def made(out: Path, seed: int = 0) -> list[float]:
    """Train a small model in `out` on one answer; returns the losses that were reported."""
    tokenizer = train_tokenizer(["one two three"] * 50, ["go"], 420)

    def draw() -> Episode:
        return Episode("one two", [Segment("policy", "<go> three</go>")])

    lines: list[str] = []
    batches = episode_batches(tokenizer, draw, 8, random.Random(seed))
    train_model(out, tokenizer, batches, replace(SMALL, seed=seed), lines.append)
    return [float(line.split()[3]) for line in lines if line.startswith("step")]


def test_training_learns_and_the_result_is_a_model_with_its_recipe(tmp_path: Path) -> None:
    losses = made(tmp_path)
    assert losses[-1] < 0.5 * losses[0]
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.num_hidden_layers == 2
    assert json.loads((tmp_path / "recipe.json").read_text())["demonstrations"] == {"steps": 100, "rows": 8}


def test_the_same_seed_makes_the_same_model(tmp_path: Path) -> None:
    for folder, seed in {"one": 0, "again": 0, "other": 1}.items():
        made(tmp_path / folder, seed)
    one, again, other = ((tmp_path / f / "model.safetensors").read_bytes() for f in ("one", "again", "other"))
    assert one == again != other


def test_a_head_that_looks_back_starts_with_its_weight_on_that_distance() -> None:
    tokenizer = train_tokenizer(["some words to begin with"] * 20, ["go"], 420)
    model = new_model(Recipe(look_back=0, initializer_range=0.001), tokenizer)
    look_back(model, head=1, distance=2)
    model.set_attn_implementation("eager")
    attention = model(torch.arange(10, 40)[None], output_attentions=True).attentions[0][0, 1].detach()
    assert all(int(attention[i].argmax()) == i - 2 for i in range(4, 30))
    assert float(attention[20, 18]) > 0.9
