"""An imagined world has the shape of the real one, and nothing of it can be known beforehand."""

from __future__ import annotations

import random

import pytest

from aepo.rewards import exact_match
from aepo.tasks.atlas import atlas_search
from aepo.tasks.atlas.questions import questions, split_of
from aepo.tasks.atlas.world import World, world
from aepo.warmstart.atlas import guesses
from aepo.warmstart.atlas.demonstrations import Demonstrator, Faults
from aepo.warmstart.atlas.imagined import NAMESAKES, imagined_world


@pytest.fixture(scope="module")
def imagined() -> World:
    return imagined_world(world(), 3000, seed=0)


def test_no_name_is_real_and_all_are_training_names(imagined: World) -> None:
    assert len(imagined.cities) == 3000
    assert not imagined.cities.keys() & world().cities.keys()
    assert {split_of(name) for name in imagined.cities} == {"train"}
    assert all(name.isascii() and name == name.strip() and name for name in imagined.cities)


def test_namesakes_lie_in_different_countries_largest_first(imagined: World) -> None:
    for cities in imagined.cities.values():
        assert len({city.country for city in cities}) == len(cities) <= max(NAMESAKES)
        assert [c.population for c in cities] == sorted((c.population for c in cities), reverse=True)
    alone = sum(len(cities) == 1 for cities in imagined.cities.values()) / len(imagined.cities)
    assert abs(alone - NAMESAKES[1]) < 0.1


def test_the_same_seed_imagines_the_same_world(imagined: World) -> None:
    assert imagined_world(world(), 3000, seed=0) == imagined
    assert imagined_world(world(), 50, seed=1).cities.keys() != imagined_world(world(), 50, seed=2).cities.keys()


def test_its_questions_are_solved_by_searching_there(imagined: World) -> None:
    samples = questions(imagined, "train", 300)
    nothing_wrong = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0)
    agent = Demonstrator(atlas_search(imagined).function, guesses(imagined), nothing_wrong, random.Random(0))

    def solved(number: int) -> float:
        last = agent.episode(samples[number])[-1].text
        target = samples[number].target
        return exact_match(
            last.removeprefix("<answer>").removesuffix("</answer>"), [target] if isinstance(target, str) else target
        )

    assert sum(map(solved, range(300))) / 300 > 0.97
