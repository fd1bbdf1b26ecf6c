"""What a world shows of itself after each result, for the viewer: kept if it is asked for."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

import aepo
from aepo.environments import EnvironmentLost
from aepo.environments import session as sessions
from aepo.environments.contract import seed_of
from aepo.types import Group, Kind, StopReason, TrajectoryTree
from tests.environments.worlds import Copied, Maze, rollout
from tests.rollout.toy import ToyGenerator, questions


def states(group: Group) -> list[Any]:
    return [node.state for node in group.tree.nodes if node.kind is Kind.OBSERVATION]


@pytest.mark.parametrize("kind", [Maze, Copied])
def test_the_state_after_each_result_is_that_of_a_world_played_alone(kind: type[Maze]) -> None:
    made, counts = rollout(aepo.environment(kind), generator=ToyGenerator(), asked=questions(5), keep_states=True)
    seen = 0
    for group in made:
        for leaf in group.tree.leaves:
            world = Maze()
            world.reset(seed_of(group.sample))
            walk = group.tree.walk(leaf.node)
            for turn, shown in pairwise(walk):
                if shown.kind is not Kind.OBSERVATION:
                    continue
                for call, result in zip(turn.calls, shown.results, strict=True):
                    if result.executed:
                        with suppress(aepo.ToolError):
                            world.ask(**call.arguments)
                assert shown.state == (world.state if shown.tokens else None)
                seen += shown.state is not None
        assert TrajectoryTree.from_json(group.tree.to_json()) == group.tree
    assert seen > 20 and counts["opened"] == counts["closed"]


def test_without_being_asked_nothing_is_kept_and_older_versions_can_read_what_is_written() -> None:
    made, _ = rollout(aepo.environment(type("Plain", (Maze,), {"state": None, "get_reward": None})))
    nodes = [node for group in made for node in json.loads(group.tree.to_json())["nodes"]]
    leaves = [leaf for group in made for leaf in json.loads(group.tree.to_json())["leaves"]]
    assert not any({"state", "outcome", "refused"} & found.keys() for found in (*nodes, *leaves))


def test_a_state_that_is_too_large_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SHOWN", 20)
    made, _ = rollout(aepo.environment(Maze), keep_states=True)
    found = [state for group in made for state in states(group) if state is not None]
    assert found and all(state.startswith("(too large to keep: ") for state in found)
    ends = [leaf.state for group in made for leaf in group.tree.leaves]
    assert all(state.startswith("(too large to keep: ") for state in ends)
    assert all(TrajectoryTree.from_json(group.tree.to_json()) == group.tree for group in made)


class Dying(Maze):
    """Dies whenever it is looked at after its third room."""

    @property
    def state(self) -> dict[str, Any]:
        if len(self.seen) > 2:
            raise EnvironmentLost("it died of being looked at")
        return super().state


def test_a_world_that_dies_when_it_is_looked_at_ends_its_path() -> None:
    made, counts = rollout(aepo.environment(Dying), keep_states=True)
    ends = [leaf for group in made for leaf in group.tree.leaves]
    lost = [leaf for leaf in ends if leaf.stop_reason is StopReason.LOST]
    assert lost and all((leaf.outcome, leaf.state) == (0.0, None) for leaf in lost)
    assert counts["lost"] > 0 and counts["opened"] == counts["closed"]
