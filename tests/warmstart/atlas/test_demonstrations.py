"""Demonstrations are mixed: solvable questions, real results, and faults at the rate that the recipe says."""

from __future__ import annotations

import random

import pytest

from aepo.rewards import exact_match
from aepo.tasks.atlas import atlas_search
from aepo.tasks.atlas.questions import questions
from aepo.tasks.atlas.world import world
from aepo.types import Sample
from aepo.warmstart.atlas import guesses
from aepo.warmstart.atlas.demonstrations import Demonstrator, Faults

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
