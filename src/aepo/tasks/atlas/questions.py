"""Questions over the atlas, split by city name: a name of one split occurs in no question of another.

Kinds:

    exact     What is the capital of the country of the Valencia with 792492 people?
    extreme   What is the currency of the country of the least populous Valencia?
    total     How many people live in all the cities called Valencia together?
    gap       How many more people live in Utrecht than in Cusco?
    area      How much larger is the country of Utrecht than the country of Cusco, in square kilometres?

Each needs one to five tool calls. For `exact` and `extreme`, the right one of two to four cities of the same name must
be found.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Literal

from aepo.tasks.atlas.world import City, World
from aepo.types import Sample

Split = Literal["train", "validation", "test"]
SHARES = {"test": 0.2, "validation": 0.1}
ATTRIBUTES = ("capital", "currency", "continent", "phone code", "neighbours")
KINDS = {"exact": 0.45, "extreme": 0.25, "total": 0.12, "gap": 0.12, "area": 0.06}
NAMESAKES = {2: 0.5, 3: 0.35, 4: 0.15}
"""Shares of names with two, three and four places."""


def split_of(name: str) -> Split:
    """The split of a city name, by a hash of the name, so that it never changes."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    if share < SHARES["test"]:
        return "test"
    return "validation" if share < SHARES["test"] + SHARES["validation"] else "train"


def questions(world: World, split: Split, size: int, seed: int = 0) -> list[Sample]:
    """`size` different questions of a split, mixed by `KINDS`.

    Raises:
        ValueError: The split has too few different questions.
    """
    rng = random.Random(f"atlas {split} {seed}")
    names = sorted(n for n in world.cities if split_of(n) == split)
    by_size = {size: [n for n in names if len(world.cities[n]) == size] for size in (1, *NAMESAKES)}
    single = by_size[1]

    def namesakes() -> tuple[City, ...]:
        size = rng.choices(list(NAMESAKES), list(NAMESAKES.values()))[0]
        return world.cities[rng.choice(by_size[size])]

    makers: dict[str, Callable[[], Sample | None]] = {
        "exact": lambda: _exact(world, rng, namesakes()),
        "extreme": lambda: _extreme(world, rng, namesakes()),
        "total": lambda: _total(namesakes()),
        "gap": lambda: _gap(*(world.cities[n][0] for n in rng.sample(single, 2))),
        "area": lambda: _area(world, *(world.cities[n][0] for n in rng.sample(single, 2))),
    }
    found: dict[str, Sample] = {}
    for _ in range(50 * size):
        if len(found) == size:
            break
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        sample = makers[kind]()
        if sample is not None:
            found.setdefault(sample.question, sample)
    counts = Counter(s.metadata["kind"] for s in found.values())
    # If a kind has too few questions, other kinds would replace it.
    dry = [kind for kind, share in KINDS.items() if counts[kind] < 0.5 * share * len(found)]
    if len(found) < size or (dry and size >= 100):
        raise ValueError(f"atlas has not {size} different {split} questions of this mix: ask for fewer")
    return [Sample(s.question, s.target, f"atlas-{split}-{seed}-{i}", s.metadata) for i, s in enumerate(found.values())]


def _exact(world: World, rng: random.Random, cities: tuple[City, ...]) -> Sample | None:
    city = rng.choice(cities)
    if sum(c.population == city.population for c in cities) > 1:
        return None
    return _attribute(world, rng, city, f"the {city.name} with {city.population} people", "exact")


def _extreme(world: World, rng: random.Random, cities: tuple[City, ...]) -> Sample | None:
    most = rng.random() < 0.5
    city = cities[0] if most else cities[-1]
    if sum(c.population == city.population for c in cities) > 1:
        return None
    return _attribute(world, rng, city, f"the {'most' if most else 'least'} populous {city.name}", "extreme", most=most)


def _attribute(
    world: World, rng: random.Random, city: City, which: str, kind: str, most: bool | None = None
) -> Sample | None:
    country = world.countries[city.country]
    attribute = rng.choice(ATTRIBUTES)
    answers = {
        "capital": country.capital,
        "currency": country.currency,
        "continent": country.continent,
        "phone code": country.phone,
        "neighbours": list(country.neighbours),
    }
    if not answers[attribute]:
        return None
    asked = "a neighbour" if attribute == "neighbours" else f"the {attribute}"
    plan = {"kind": kind, "name": city.name, "country": city.country, "population": city.population}
    if most is not None:
        plan["most"] = most
    return Sample(
        f"What is {asked} of the country of {which}?", answers[attribute], metadata={**plan, "attribute": attribute}
    )


def _total(cities: tuple[City, ...]) -> Sample:
    name = cities[0].name
    return Sample(
        f"How many people live in all the cities called {name} together?",
        str(sum(c.population for c in cities)),
        metadata={"kind": "total", "name": name, "populations": [c.population for c in cities]},
    )


def _gap(a: City, b: City) -> Sample | None:
    if a.population <= b.population:
        a, b = b, a
    return Sample(
        f"How many more people live in {a.name} than in {b.name}?",
        str(a.population - b.population),
        metadata={"kind": "gap", "names": [a.name, b.name], "populations": [a.population, b.population]},
    )


def _area(world: World, a: City, b: City) -> Sample | None:
    first, second = world.countries[a.country], world.countries[b.country]
    if not first.area or not second.area or first == second:
        return None
    if first.area < second.area:
        a, b, first, second = b, a, second, first
    return Sample(
        f"How many square kilometres larger is the country of {a.name} than the country of {b.name}?",
        str(first.area - second.area),
        metadata={
            "kind": "area",
            "names": [a.name, b.name],
            "countries": [first.name, second.name],
            "areas": [first.area, second.area],
        },
    )
