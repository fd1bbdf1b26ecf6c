"""Branches begin in the world in which their parent was: every call is what a world played alone would give."""

from __future__ import annotations

import random
import time
import weakref
from typing import Any
from unittest.mock import patch

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aepo
from aepo.core.resampling import CallResampling
from aepo.environments import EnvironmentLost, Session
from aepo.types import Origin
from tests.environments.worlds import BRANCHY, EAGER, Copied, Maze, fresh, played_alone, rollout
from tests.rollout.toy import CALL, WORD, Place, ToyGenerator, questions, wild
from tests.rollout.trees import count
from tests.rules import altered


def busy(at: Place) -> int:
    """Mostly calls."""
    return [WORD + int(at.draw * 40), WORD + int(at.other * 40), CALL if at.draw < 0.9 else wild(at)][min(at.number, 2)]


def shaky(kind: type[Maze], chance: random.Random, deaths: float) -> type[Maze]:
    """The same world, whose calls take their time, and which dies now and then."""

    class Shaky(kind):  # type: ignore[misc, valid-type]
        def ask(self, what: str) -> str:
            """Go through a door.

            Args:
                what: Which.
            """
            time.sleep(chance.choice([0, 0, 0.001]))
            if chance.random() < deaths:
                raise EnvironmentLost("killed")
            return super().ask(what)

    return fresh(Shaky)


@patch.object(Session, "pauses", (0.0, 0.0))
@given(st.integers(0, 2**32), st.sampled_from(["thread", "inline"]), st.booleans(), st.integers(1, 4))
def test_no_world_is_wrong(chance: int, where: str, snapshots: bool, groups: int) -> None:
    draw = random.Random(chance)
    deaths = draw.choice([0.0, 0.0, 0.03, 0.2])
    kind = shaky(Copied if snapshots else Maze, random.Random(chance), deaths)
    engine = ToyGenerator(busy, max_sequences=draw.choice([1, 3, 1000]), delay=lambda: draw.randrange(4))
    rules = draw.choice([EAGER, BRANCHY, altered(BRANCHY, branch_time="retrospective")])
    made, counts = rollout(aepo.environment(kind, inline=where == "inline"), rules, engine, questions(groups))
    pairs = [pair for group in made for pair in played_alone(Maze, group)]
    assert [given for given, _ in pairs] == [wanted for _, wanted in pairs]
    assert len(pairs) > 8 * groups
    assert deaths or "refused" not in counts
    assert counts["opened"] == counts["closed"] == kind.made == kind.closed


def test_replays_and_snapshots_give_the_same_trees() -> None:
    by_replay, counts = rollout(aepo.environment(Maze), generator=ToyGenerator(busy), asked=questions(6))
    by_snapshot, kept = rollout(aepo.environment(Copied), generator=ToyGenerator(busy), asked=questions(6))
    assert by_replay == by_snapshot
    assert counts["replayed_calls"] > 0
    assert kept["restored"] == sum(count(group.tree, Origin.BRANCH) for group in by_snapshot) > 0
    assert "replayed_calls" not in kept


def test_the_first_turn_of_a_path_is_sampled_while_its_world_is_opened() -> None:
    engine = ToyGenerator(busy)

    class Late(fresh(Maze)):  # type: ignore[misc]
        """Begins only after its path has sampled."""

        async def reset(self, seed: int) -> str:  # type: ignore[override]
            paths = type(self).made - 1  # one world was for the opening
            with anyio.fail_after(60):
                while len({event.key for event in engine.events if event.what == "sampled"}) < paths:
                    await anyio.sleep(0.001)
            return super().reset(seed)

    (group,), counts = rollout(aepo.environment(Late), generator=engine, asked=questions(1))
    assert count(group.tree, Origin.BRANCH) > 0 and counts["replayed_calls"] > 0


class Snapshot(dict[str, Any]):
    """One that can be watched."""

    __hash__ = object.__hash__  # type: ignore[assignment]


@pytest.mark.parametrize("when", ["online", "retrospective"])
def test_a_snapshot_is_let_go_when_no_branch_can_begin_there(when: str) -> None:
    alive: weakref.WeakSet[Snapshot] = weakref.WeakSet()
    seen = []

    class Watched(Copied):
        def snapshot(self) -> Snapshot:
            made = Snapshot(super().snapshot())
            alive.add(made)
            seen.append(len(alive))
            return made

    rules = altered(BRANCHY, branch_time=when)
    made, counts = rollout(aepo.environment(fresh(Watched), inline=True), rules, ToyGenerator(busy), questions(1))
    assert len(seen) == counts["snapshots"] > 5 and "replayed_calls" not in counts
    assert counts["restored"] == count(made[0].tree, Origin.BRANCH) > 0
    assert (max(seen) < len(seen)) == (when == "online")


class GlobalRandom(Maze):
    """Draws from the random numbers of the whole process, as many games do."""

    def reset(self, seed: int, size: int = 7) -> str:
        random.seed(seed)
        said = super().reset(seed, size)
        self.draw = random  # type: ignore[assignment]
        return said


def test_own_random_keeps_the_random_numbers_of_worlds_apart() -> None:
    _, refused = rollout(aepo.environment(GlobalRandom, inline=True), generator=ToyGenerator(busy))
    assert refused["refused"] > 0
    before = random.getstate()
    made, counts = rollout(aepo.environment(GlobalRandom, own_random=True), generator=ToyGenerator(busy))
    assert random.getstate() == before
    assert "refused" not in counts
    # One world at a time is alone with the random numbers of the process.
    assert all(given == wanted for group in made for given, wanted in played_alone(GlobalRandom, group))


def test_calls_that_change_nothing_are_not_made_again() -> None:
    _, counts = rollout(aepo.environment(Maze, read_only=["ask"]), generator=ToyGenerator(busy), asked=questions(2))
    assert "replayed_calls" not in counts
    assert counts["opened"] > 16


def test_calls_that_are_sampled_again_begin_before_the_first_ones() -> None:
    rules = CallResampling(8, resamples=4)

    async def nothing(trajectory: aepo.Trajectory) -> float:
        return 0.0

    groups, _ = rollout(aepo.environment(Maze), rules, ToyGenerator(busy), questions(4), scorer=nothing)
    assert any(count(group.tree, Origin.RESAMPLED) for group in groups)
    assert all(given == wanted for group in groups for given, wanted in played_alone(Maze, group))
