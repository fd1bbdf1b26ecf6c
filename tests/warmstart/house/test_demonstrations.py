"""The scripted player opens every chest in time, and its faults cost about half of them."""

from __future__ import annotations

import random
import re

from aepo.tasks.house.game import House
from aepo.tasks.house.questions import seeds
from aepo.types import ToolError
from aepo.warmstart.episode import Segment
from aepo.warmstart.house.demonstrations import HousePlayer, PlayerFaults

NONE = PlayerFaults(0, 0, 0, 0, 0, 0)


def opened(demonstrator: HousePlayer, houses: list[int]) -> float:
    """The share of houses whose chest is open after the player's turns, played again in a game of our own."""
    return sum(_replayed(seed, demonstrator.episode(seed)) for seed in houses) / len(houses)


def _replayed(seed: int, episode: tuple[str, list[Segment]]) -> bool:
    house = House()
    opening, segments = episode
    assert house.reset(seed) == opening
    for turn, result in zip(segments[::2], [*segments[1::2], None], strict=True):
        call = re.fullmatch(r"<(\w+)> (.+)</\1>", turn.text)
        assert call is not None and turn.writer == "policy"
        try:
            said = getattr(house, call[1])(call[2])
        except ToolError as error:
            said = str(error)
        assert result is None or result == Segment("observation", f"<result>{said}</result>")
    return house.done


def test_without_faults_the_player_opens_every_chest() -> None:
    assert opened(HousePlayer(NONE, random.Random(0), calls=40), seeds("train", 500)) == 1.0


def test_with_twelve_calls_luck_decides_some_games() -> None:
    assert 0.8 < opened(HousePlayer(NONE, random.Random(0), calls=12), seeds("train", 500)) < 0.95


def test_with_faults_about_half_is_opened_and_mistakes_are_repaired() -> None:
    houses = seeds("train", 500)
    assert 0.4 < opened(HousePlayer(PlayerFaults(), random.Random(0), calls=12), houses) < 0.65
    assert opened(HousePlayer(PlayerFaults(), random.Random(0), calls=200), houses) > 0.99


def test_the_same_seed_plays_the_same_games() -> None:
    first, again = (
        [HousePlayer(PlayerFaults(), random.Random(3), 12).episode(seed) for seed in seeds("train", 20)] for _ in "12"
    )
    assert first == again
