"""Trajectories of verl play `house`, each in a world of its own, which lives where verl's agent loops run."""

from __future__ import annotations

import json
from typing import Any

import pytest

import aepo

pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
from aepo.engines.verl.agent import at_once
from aepo.environments.contract import reset_arguments
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.tasks.house.game import House
from aepo.types import Origin, Sample, StopReason, ToolCall
from tests.engines.verl.compared import trees
from tests.engines.verl.conftest import Ran, train
from tests.engines.verl.test_run import ALGORITHM, CONFIG, QUESTIONS, trained
from tests.engines.verl.world_task import catalogues

CONFIG_HERE: dict[str, Any] = {
    **CONFIG,
    "model": {"path": "house", "dtype": "float32"},
    "algorithm": {**ALGORITHM, "tau": 0.0},
    "task": {"name": "house", "options": {"size": 60, "held_out": 4}},
    "rollout": {"questions": QUESTIONS, "max_tokens": 300, "max_tool_calls": 12},
    "evaluation": {"questions": 1, "samples": 2, "greedy": False},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    if not (BUILT_IN_MODELS["house"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/house` makes it")
    done = train(tmp_path_factory.mktemp("verl") / "run", CONFIG_HERE)
    assert done.code == 0, done.output[-5000:]
    return done


def played(sample: Sample, calls: list[ToolCall]) -> tuple[list[str], float, Any]:
    world, said = House(), []
    world.reset(**reset_arguments(House, sample))
    for call in calls:
        try:
            said.append(getattr(world, call.name)(**call.arguments))
        except aepo.ToolError as error:
            said.append(str(error))
    return said, world.get_reward(), world.state


def test_every_trajectory_is_that_of_a_world_played_alone(ran: Ran) -> None:
    origins, ends = set(), set()
    for step in (1, 2):
        for group in trees(ran.folder, step):
            for one in group.trajectories():
                made = [(call, result.text) for call, result in one.calls if result.executed]
                texts, reward, state = played(group.sample, [call for call, _ in made])
                assert [text for _, text in made] == texts and (one.outcome, one.state) == (reward, state)
                assert one.reward == (-1.0 if one.format_error else reward)
                origins.add(one.leaf.origin)
                ends.add(one.stop_reason)
    assert Origin.BRANCH in origins and StopReason.DONE in ends


def test_what_the_workers_counted_is_in_the_metrics(ran: Ran) -> None:
    for row in trained(ran.folder).values():
        assert row["environment/opened"] == row["environment/closed"] > 0
        assert "environment/refused" not in row and "environment/not_closed" not in row
    assert sum(row.get("environment/restored", 0.0) for row in trained(ran.folder).values()) > 0


def test_an_evaluation_is_of_what_worlds_say(ran: Ran) -> None:
    rows = [json.loads(line) for line in (ran.folder / "metrics.jsonl").read_text().splitlines()]
    asked = [row for row in rows if "eval/success" in row]
    assert [row["step"] for row in asked] == [0, 2]
    assert all(row["eval/environment/opened"] == row["eval/environment/closed"] > 0 for row in asked)


def test_a_node_asks_no_more_questions_at_once_than_it_may_open_worlds_for() -> None:
    worlds = catalogues(11).environments.values()
    assert (at_once(worlds, 4), at_once(worlds, 12), at_once([], 4) > 1000) == (2, 1, True)
