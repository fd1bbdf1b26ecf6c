"""Makes an imagined world for demonstrations, so that the model does not learn real places by heart.

With real names, a small model learns by heart which of several places with one name has most people, and fails on a new
name. Here names and populations are invented, so the model must read, copy and compare. All real places of every split
are new to it.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence

from aepo.tasks.atlas.questions import split_of
from aepo.tasks.atlas.world import City, World

NAMESAKES = {1: 0.4, 2: 0.25, 3: 0.2, 4: 0.15}
"""The share of names that have one, two, three or four places."""
ORDER = 3
LONGEST = 24
SPREAD = 0.7


def imagined_world(world: World, names: int, seed: int) -> World:
    """Make a world with the real countries and with `names` invented names of cities, none of which is real.

    Names are drawn from the letter sequences of the training names. A population is a real one times exp(u), with u
    uniform within +-`SPREAD`. The chance of a country is proportional to its number of real cities.

    Args:
        world: The real facts.
        names: Number of names.
        seed: Seed of all random choices.
    """
    rng = random.Random(f"imagined {seed}")
    real = [city for cities in world.cities.values() for city in cities if split_of(city.name) == "train"]
    countries = [city.country for city in real]
    letters = _letters([name for name in sorted(world.cities) if split_of(name) == "train"])
    invented: dict[str, tuple[City, ...]] = {}
    while len(invented) < names:
        name = _name(letters, rng)
        if name in invented or name in world.cities or name in world.countries or split_of(name) != "train":
            continue
        size = rng.choices(list(NAMESAKES), list(NAMESAKES.values()))[0]
        homes = {rng.choice(countries) for _ in range(size)}
        cities = [City(name, home, _population(rng.choice(real).population, rng)) for home in sorted(homes)]
        invented[name] = tuple(sorted(cities, key=lambda city: -city.population))
    return World(world.countries, invented)


def _population(real: int, rng: random.Random) -> int:
    return max(1000, round(real * math.exp(rng.uniform(-SPREAD, SPREAD))))


def _letters(names: Sequence[str]) -> dict[str, list[str]]:
    """List the letters that follow each sequence of `ORDER` letters; an empty string ends a name."""
    follow: dict[str, list[str]] = defaultdict(list)
    for name in names:
        padded = " " * ORDER + name
        for at in range(ORDER, len(padded)):
            follow[padded[at - ORDER : at]].append(padded[at])
        follow[padded[-ORDER:]].append("")
    return dict(follow)


def _name(letters: dict[str, list[str]], rng: random.Random) -> str:
    name = " " * ORDER
    while len(name) - ORDER < LONGEST:
        letter = rng.choice(letters[name[-ORDER:]])
        if not letter:
            break
        name += letter
    return name.strip()
