"""The game: one house for a seed, rules that tell what is wrong, and no mistake that cannot be repaired."""

from __future__ import annotations

import json
import random
import re

import pytest

from aepo.tasks.house.game import METALS, ROOMS, House
from aepo.types import ToolError

KITCHEN = {"hall": ["kitchen"], "kitchen": ["hall", "cellar"], "cellar": ["kitchen"], "attic": []}


def placed(keys: dict[str, str], at: str = "hall", chest: str = "cellar", lock: str = "brass") -> House:
    """A small house with everything where the test wants it."""
    house = House()
    house.reset(0)
    house.doors = {room: list(doors) for room, doors in KITCHEN.items()}
    house.at, house.chest, house.lock, house.keys = at, chest, lock, dict(keys)
    return house


def act(house: House, rng: random.Random) -> str:
    """A random call, sometimes a senseless one; what the model would read."""
    tool, things = rng.choice(
        [("go", house.doors[house.at]), ("go", ROOMS), ("take", [f"{m} key" for m in METALS]), ("open", ["chest"])]
    )
    try:
        return getattr(house, tool)(rng.choice(things))
    except ToolError as error:
        return str(error)


def test_a_seed_makes_one_house_and_other_seeds_make_others() -> None:
    def whole(seed: int) -> str:
        house = House()
        return house.reset(seed) + json.dumps(house.state)

    assert whole(5) == whole(5)
    assert len({whole(seed) for seed in range(500)}) == 500


@pytest.mark.parametrize("rooms", [4, 6, 12])
def test_every_room_can_be_reached_and_every_thing_is_in_a_room_of_its_own(rooms: int) -> None:
    for seed in range(200):
        house = House()
        house.reset(seed, rooms)
        reached, todo = {house.at}, [house.at]
        while todo:
            new = [room for room in house.doors[todo.pop()] if room not in reached]
            reached.update(new)
            todo += new
        assert reached == house.doors.keys() and len(reached) == rooms
        assert len({house.at, house.chest, *house.keys.values()}) == 4
        assert house.lock in house.keys and len(house.keys) == 2
        assert all(room in house.doors[other] for room, beyond in house.doors.items() for other in beyond)


def test_the_way_to_an_open_chest() -> None:
    house = placed({"brass": "kitchen", "iron": "attic"})
    assert house.go("kitchen") == "The kitchen. Doors: hall, cellar. Here: brass key."
    assert house.take("brass key") == "You have the brass key."
    assert house.go("cellar") == "The cellar. Doors: kitchen. Here: chest with a brass lock."
    assert (house.done, house.get_reward()) == (False, 0.0)
    assert house.open("chest") == "The chest is open."
    assert (house.done, house.get_reward()) == (True, 1.0)


@pytest.mark.parametrize(
    ("tool", "argument", "message"),
    [
        ("go", "cellar", "No door here leads to the cellar."),
        ("go", "moon", "No door here leads to the moon."),
        ("take", "brass key", "There is no brass key here to take."),
        ("take", "chest", "There is no chest here to take."),
        ("take", "iron", "There is no iron here to take."),
        ("open", "chest", "There is no chest here to open."),
        ("open", "door", "There is no door here to open."),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(tool: str, argument: str, message: str) -> None:
    house = placed({"brass": "kitchen", "iron": "hall"})
    before = house.state
    with pytest.raises(ToolError, match=re.escape(message)):
        getattr(house, tool)(argument)
    assert house.state == before


def test_a_wrong_order_and_a_wrong_key_are_repaired_by_going_back() -> None:
    house = placed({"brass": "kitchen", "iron": "hall"})
    house.take("iron key")
    house.go("kitchen")
    house.go("cellar")
    assert house.open("chest") == "The iron key does not fit."
    assert house.go("kitchen").endswith("Here: brass key.")
    house.take("brass key")
    assert house.go("hall") == "The hall. Doors: kitchen."
    assert house.go("kitchen").endswith("Here: iron key."), "the first key lies where the other one was"
    house.go("cellar")
    house.open("chest")
    assert house.done


def test_without_a_key_the_chest_stays_shut() -> None:
    house = placed({"brass": "kitchen", "iron": "hall"}, at="cellar")
    assert house.open("chest") == "It is locked."
    assert not house.done


def test_the_same_calls_give_the_same_results_in_another_copy() -> None:
    for seed in range(50):
        one, other = House(), House()
        assert one.reset(seed) == other.reset(seed)
        first = [act(one, rng) for rng in [random.Random(seed)] for _ in range(30)]
        assert first == [act(other, rng) for rng in [random.Random(seed)] for _ in range(30)]
        assert one.state == other.state


def test_a_snapshot_serves_many_branches_and_stays_as_it_was() -> None:
    house = House()
    house.reset(3)
    rng = random.Random(1)
    for _ in range(5):
        act(house, rng)
    kept, then = house.snapshot(), house.state
    for number in range(4):
        branch = House()
        branch.reset(3)
        branch.restore(kept)
        assert branch.state == then
        for _ in range(20):
            act(branch, rng)
        assert kept == then, f"branch {number} changed the snapshot"
    assert house.state == then


def test_the_state_is_json() -> None:
    house = House()
    house.reset(0)
    assert json.loads(json.dumps(house.state)) == house.state
