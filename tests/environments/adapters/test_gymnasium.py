"""Environments of Gymnasium: equal seeds and actions give equal texts, and BabyAI can be played."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import aepo
from aepo.environments.adapters.gymnasium import gymnasium
from aepo.environments.contract import seed_of
from aepo.types import Sample, ToolError


class Walk:
    """Five steps to the right end it."""

    closed = 0

    def reset(self, seed: int) -> tuple[int, dict[str, Any]]:
        self.at = seed % 3
        return self.at, {}

    def step(self, move: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.at += move
        return self.at, 0.5, self.at >= 5, self.at < -5, {"moved": move}

    def close(self) -> None:
        Walk.closed += 1


walk = gymnasium(Walk, lambda at, more: f"at {at} {more}", {"left": -1, "right": 1}.__getitem__)


def test_one_tool_acts_and_the_rewards_are_summed() -> None:
    world, closed = walk(), Walk.closed
    assert world.reset(seed=4) == "at 1 {}"
    assert [world.act("right"), world.act(" left ")] == ["at 2 {'moved': 1}", "at 1 {'moved': -1}"]
    with pytest.raises(ToolError, match="no such action: up"):
        world.act("up")
    for _ in range(4):
        assert not world.done
        world.act("right")
    assert world.done and world.get_reward() == 3.0
    world.close()
    assert Walk.closed == closed + 1


def test_it_is_an_environment() -> None:
    assert aepo.check_environment(aepo.environment(walk, inline=True), [Sample("Go.", id="a")]) == []


def babyai() -> Any:
    made = pytest.importorskip("gymnasium", reason="pip install gymnasium minigrid")
    pytest.importorskip("minigrid")
    return made.make("BabyAI-GoToLocal-v0")


def seen(view: dict[str, Any], more: dict[str, Any]) -> str:
    return f"{view['mission']} {view['direction']} {view['image'][:, :, 0].tolist()}"


MOVES = {"left": 0, "right": 1, "forward": 2, "pick": 3}


@pytest.mark.parametrize(("process", "questions"), [(False, 2), (True, 1)])
def test_babyai_is_the_same_in_two_worlds_and_when_it_is_replayed(process: bool, questions: int) -> None:
    babyai().close()
    played = partial(gymnasium(babyai, seen, MOVES.__getitem__))
    environment = aepo.environment(played, process=process)
    samples = [Sample("Go.", id=f"b{n}") for n in range(questions)]
    assert aepo.check_environment(environment, samples, calls=10) == []


def test_babyai_rewards_the_one_who_gets_there() -> None:
    babyai().close()
    worlds = [gymnasium(babyai, seen, MOVES.__getitem__)() for _ in range(40)]
    for number, world in enumerate(worlds):
        world.reset(seed=seed_of(Sample("", id=str(number))))
        for step in range(60):
            if not world.done:
                world.act("forward" if step % 4 else ("left", "right")[number % 2])
        world.close()
    rewards = [world.get_reward() for world in worlds]
    assert 0 < sum(reward > 0 for reward in rewards) < len(rewards)
