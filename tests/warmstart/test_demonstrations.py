"""Demonstrations are mixed: solvable questions, real results, and faults at the rate that the recipe says."""

from __future__ import annotations

import random

import pytest
import torch

from aepo.rewards import exact_match
from aepo.tasks.atlas import atlas_search
from aepo.tasks.atlas.questions import questions
from aepo.tasks.atlas.world import world
from aepo.types import Sample
from aepo.warmstart.curriculum import copy_batches
from aepo.warmstart.demonstrations import Demonstrator, Faults, Segment
from aepo.warmstart.tokenizer import train_tokenizer
from aepo.warmstart.train import Recipe, encode, guesses, look_back, new_model

NONE = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def search():
    return atlas_search().function


def success(samples: list[Sample], demonstrator: Demonstrator) -> float:
    def solved(sample: Sample) -> float:
        last = demonstrator.episode(sample)[-1].text
        targets = [sample.target] if isinstance(sample.target, str) else sample.target
        return exact_match(last.removeprefix("<answer>").removesuffix("</answer>"), targets)

    return sum(map(solved, samples)) / len(samples)


def test_without_faults_the_agent_solves_everything_it_can_see(search) -> None:
    samples = questions(world(), "train", 400)
    assert success(samples, Demonstrator(search, guesses(world()), NONE, random.Random(0))) > 0.97


def test_with_faults_about_half_is_solved(search) -> None:
    samples = questions(world(), "train", 400)
    assert 0.45 < success(samples, Demonstrator(search, guesses(world()), Faults(), random.Random(0))) < 0.7


def test_the_same_seed_writes_the_same_episodes(search) -> None:
    samples = questions(world(), "train", 20)
    first, again = (
        [Demonstrator(search, guesses(world()), Faults(), random.Random(3)).episode(s) for s in samples] for _ in "12"
    )
    assert first == again


def test_numbers_and_tags_are_the_same_tokens_everywhere() -> None:
    tokenizer = train_tokenizer(["What is the capital of Spain?", "population 792492, Spain"] * 50, 420)
    inside = tokenizer.encode(" with 792492 people", add_special_tokens=False)
    alone = tokenizer.encode("792492", add_special_tokens=False)
    assert alone == [tokenizer.convert_tokens_to_ids(pair) for pair in ("79", "24", "92")]
    assert any(inside[i : i + 3] == alone for i in range(len(inside)))
    assert len(tokenizer.encode("</search>", add_special_tokens=False)) == 1


def test_only_policy_text_is_trained_on() -> None:
    tokenizer = train_tokenizer(["What is the capital of Spain?"] * 50, 420)
    segments = [Segment("policy", "<search> Spain</search>"), Segment("observation", "<result>- x</result>")]
    ids, mask = encode(tokenizer, Sample("What is the capital of Spain?"), segments)
    trained = tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m])
    assert trained == "<search> Spain</search>"
    assert len(ids) == len(mask)


def test_what_the_curriculum_trains_can_be_known_from_the_row() -> None:
    ids, mask = next(copy_batches(200, 6, 16, 48, torch.Generator().manual_seed(0)))
    assert mask.any()
    for row in range(16):
        for at in mask[row].nonzero()[:, 0].tolist():
            context = ids[row, at - 2 : at].tolist()
            earlier = [t for t in range(2, at) if ids[row, t - 2 : t].tolist() == context]
            assert any(ids[row, t] == ids[row, at] for t in earlier)


def test_a_head_that_looks_back_starts_with_its_weight_on_that_distance() -> None:
    tokenizer = train_tokenizer(["some words to begin with"] * 20, 420)
    model = new_model(Recipe(look_back=0, initializer_range=0.001), tokenizer)
    look_back(model, head=1, distance=2)
    model.set_attn_implementation("eager")
    attention = model(torch.arange(10, 40)[None], output_attentions=True).attentions[0][0, 1].detach()
    assert all(int(attention[i].argmax()) == i - 2 for i in range(4, 30))
    assert float(attention[20, 18]) > 0.9
