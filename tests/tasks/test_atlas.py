"""Atlas: real facts, real ambiguity, splits that share no name, answers that the tools can really find."""

from __future__ import annotations

import re
from collections import Counter

import anyio
import pytest

from aepo.tasks import load
from aepo.tasks.atlas import atlas, atlas_search
from aepo.tasks.atlas.questions import KINDS, questions, split_of
from aepo.tasks.atlas.world import world
from aepo.tasks.splits import Split
from aepo.types import Sample

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
CITY = re.compile(r"^- (.+), population (\d+), (.+)$", re.M)


def names(sample: Sample) -> set[str]:
    """The city names that a question asks about."""
    return set(sample.metadata.get("names", [sample.metadata.get("name")]))


def test_thousands_of_documents_and_hundreds_of_shared_names() -> None:
    facts = world()
    shared = Counter(len(cities) for cities in facts.cities.values() if len(cities) > 1)
    assert len(facts.documents()) > 10_000
    assert set(shared) == {2, 3, 4}
    assert shared[3] > 100


def test_no_name_of_one_split_is_asked_about_in_another() -> None:
    asked = {split: set().union(*map(names, questions(world(), split, 300))) for split in SPLITS}
    for split in SPLITS:
        assert all(split_of(name) == split for name in asked[split])
        for other in set(SPLITS) - {split}:
            assert not asked[split] & asked[other]


def test_the_mix_holds_every_kind_and_is_mostly_ambiguous() -> None:
    kinds = Counter(sample.metadata["kind"] for sample in questions(world(), "train", 1000))
    assert set(kinds) == set(KINDS)
    assert kinds["exact"] + kinds["extreme"] + kinds["total"] > 700


def test_the_same_seed_draws_the_same_questions_and_another_seed_others() -> None:
    first, again, other = (questions(world(), "train", 50, seed) for seed in (0, 0, 1))
    assert first == again
    assert {s.question for s in first} != {s.question for s in other}


def test_asking_for_more_questions_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="atlas has not 20000 different test questions"):
        questions(world(), "test", 20_000)


def test_a_search_for_a_shared_name_shows_all_its_places_and_the_right_one_can_be_told() -> None:
    search = atlas_search().function
    for sample in [s for s in questions(world(), "test", 200) if s.metadata["kind"] == "exact"]:
        found = [m for m in CITY.findall(search(sample.metadata["name"])) if m[0] == sample.metadata["name"]]
        assert 2 <= len(found) <= 4
        right = [country for _, population, country in found if int(population) == sample.metadata["population"]]
        assert right == [sample.metadata["country"]]


def test_the_second_search_shows_the_answer() -> None:
    search = atlas_search().function
    for sample in [s for s in questions(world(), "test", 200) if "attribute" in s.metadata]:
        attribute, country = sample.metadata["attribute"], sample.metadata["country"]
        targets = [sample.target] if isinstance(sample.target, str) else sample.target
        line = next(
            line for line in search(f"{attribute} of {country}").splitlines() if f"{attribute} of {country}:" in line
        )
        assert all(target in line for target in targets)


def test_numbers_come_out_as_the_facts_say() -> None:
    facts = world()
    for sample in questions(facts, "validation", 200):
        plan = sample.metadata
        if plan["kind"] == "total":
            assert int(sample.target) == sum(city.population for city in facts.cities[plan["name"]])
        if plan["kind"] == "gap":
            a, b = (facts.cities[name][0].population for name in plan["names"])
            assert int(sample.target) == a - b > 0
        if plan["kind"] == "area":
            a, b = (facts.countries[facts.cities[name][0].country].area for name in plan["names"])
            assert int(sample.target) == a - b > 0


def test_the_task_has_working_tools() -> None:
    task = load("atlas", {"size": 20, "held_out": 10, "split": "test"})
    tools = {tool.name: tool for tool in task.tools}

    async def ask() -> tuple[str, str]:
        found = await tools["search"].call({"query": "capital of Spain"})
        result = await tools["python"].call({"code": "print(792492-11439)"})
        return found.text, result.text

    found, result = anyio.run(ask)
    assert found.splitlines()[0] == "- capital of Spain: Madrid"
    assert result == "781053"
    assert {s.id for s in task.samples}.isdisjoint(s.id for s in task.held_out)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("atlass", {}, "unknown task 'atlass': did you mean 'atlas'?"),
        ("atlas", {"sizes": 1}, "task 'atlas' has no option 'sizes': did you mean 'size'?"),
        ("nowhere.module:make", {}, "task 'nowhere.module:make' cannot be imported"),
        ("aepo.types:Sample", {"question": "x"}, "task 'aepo.types:Sample' is a Sample"),
    ],
)
def test_a_task_that_does_not_exist_is_refused_with_a_hint(name: str, options: dict, line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)):
        load(name, options)


def test_a_task_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="task 'atlas' has no samples"):
        atlas(size=0, held_out=1)
