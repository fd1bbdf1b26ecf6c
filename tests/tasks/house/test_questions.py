"""Houses as questions: splits that share no house, and the same draw for the same seed."""

from __future__ import annotations

import pytest

from aepo.tasks.house.game import House
from aepo.tasks.house.questions import questions, split_of
from aepo.tasks.splits import Split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def test_no_house_of_one_split_is_in_another() -> None:
    openings = {}
    for split in SPLITS:
        samples = questions(split, 500)
        assert {split_of(sample.metadata["seed"]) for sample in samples} == {split}
        openings[split] = {repr((house := House()).reset(s.metadata["seed"])) + repr(house.state) for s in samples}
        assert len(openings[split]) == len({sample.question for sample in samples}) == 500
    assert not openings["train"] & (openings["validation"] | openings["test"])
    assert not openings["validation"] & openings["test"]


def test_the_same_seed_draws_the_same_houses_and_another_seed_others() -> None:
    first, again, other = (questions("train", 50, seed) for seed in (0, 0, 1))
    assert first == again
    assert not {s.id for s in first} & {s.id for s in other}


def test_asking_for_more_houses_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="house has not 200000 different test questions: ask for at most 100000"):
        questions("test", 200_000)


@pytest.mark.parametrize("rooms", [4, 6, 12])
def test_the_houses_have_as_many_rooms_as_are_asked_for(rooms: int) -> None:
    house = House()
    for sample in questions("train", 20, rooms=rooms):
        house.reset(**sample.metadata)
        assert len(house.doors) == rooms
    for other in (3, 13):
        with pytest.raises(ValueError, match=f"a house has 4 to 12 rooms, not {other}"):
            questions("train", 20, rooms=other)
