"""Trajectories of verl act in worlds of their own, which live where verl's agent loops run."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from aepo.engines.verl.agent import at_once
from aepo.types import Origin, StopReason
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran, train
from tests.engines.verl.test_run import ALGORITHM, CONFIG, K, trained
from tests.engines.verl.world_task import Catalogue, catalogues

CONFIG_HERE: dict[str, Any] = {
    **CONFIG,
    "algorithm": {**ALGORITHM, "tau": 0.0},
    "task": {"name": "world_task:catalogues", "options": {"max_open": 2 * K}},
    "evaluation": {"questions": 1, "samples": 2, "greedy": False},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    done = train(tmp_path_factory.mktemp("verl") / "run", CONFIG_HERE)
    assert done.code == 0, done.output[-5000:]
    return done


def played(question: str, calls: list[dict[str, Any]]) -> tuple[list[str], float, Any]:
    world = Catalogue()
    world.reset(question)
    return [world.search(**arguments) for arguments in calls], world.get_reward(), world.state


def test_every_trajectory_is_that_of_a_world_played_alone(ran: Ran) -> None:
    origins, ends = set(), set()
    for step in (1, 2):
        for group in trees(ran.folder, step):
            for one in group.trajectories():
                made = [(call.arguments, result.text) for call, result in one.calls if result.executed]
                texts, reward, state = played(group.sample.question, [arguments for arguments, _ in made])
                assert [text for _, text in made] == texts
                assert (one.reward, one.outcome, one.state) == (reward, reward, state)
                origins.add(one.leaf.origin)
                ends.add(one.stop_reason)
    assert Origin.BRANCH in origins and StopReason.DONE in ends


def test_what_the_workers_counted_is_in_the_metrics(ran: Ran) -> None:
    for row in trained(ran.folder).values():
        assert row["environment/opened"] == row["environment/closed"] > 0
        assert "environment/refused" not in row and "environment/not_closed" not in row
    assert sum(row.get("environment/replayed_calls", 0.0) for row in trained(ran.folder).values()) > 0


def test_an_evaluation_is_of_what_worlds_say(ran: Ran) -> None:
    rows = [json.loads(line) for line in (ran.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "eval/success" in row] == [0, 2]


def test_a_node_asks_no_more_questions_at_once_than_it_may_open_worlds_for() -> None:
    worlds = catalogues(11).environments.values()
    assert (at_once(worlds, 4), at_once(worlds, 12), at_once([], 4) > 1000) == (2, 1, True)
