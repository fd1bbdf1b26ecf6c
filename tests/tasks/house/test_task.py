"""The task: the game's methods as tools, and groups of the package's model that fork its houses."""

from __future__ import annotations

import anyio
import pytest

import aepo
from aepo.config import load as load_config
from aepo.equipment.agents import agents
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.rollout.explorer import Seeds, explore
from aepo.tasks import load
from aepo.tasks.house import opened
from aepo.tasks.house.game import House
from aepo.types import Group, Origin, ToolError, Trajectory

made = pytest.mark.skipif(
    not (BUILT_IN_MODELS["house"] / "model.safetensors").is_file(),
    reason="the small model is not in this copy: `aepo warmstart src/aepo/models/house --task house` makes it",
)
LIMITS = ["rollout.max_tool_calls=16", "rollout.max_tokens=500", "algorithm.tau=0.5"]


def groups_of(questions: int) -> list[Group]:
    """Groups of AEPO on the first questions, sampled by the package's model."""
    config, task = load_config(None, LIMITS), load("house", {"size": questions})
    policy = aepo.load_policy("house")
    agent, _ = agents(policy, task, config, task.samples)
    rules = config.algorithm.exploration()
    state = rules.initial_state(len(policy.tokenizer))
    return anyio.run(explore, task.samples, agent, rules, state, Seeds(0, 0))


def played_alone(group: Group, trajectory: Trajectory) -> tuple[list[str], float]:
    """What a game of our own says to the calls of a trajectory, and its outcome."""
    house = House()
    house.reset(group.sample.metadata["seed"])
    said = []
    for call, _ in trajectory.calls:
        try:
            said.append(getattr(house, call.name)(**call.arguments))
        except ToolError as error:
            said.append(str(error))
    return said, house.get_reward()


def test_the_task_has_the_games_tools_and_splits() -> None:
    task = load("house", {"size": 30, "held_out": 10, "split": "test"})
    assert {tool.name for tool in task.tools} == {"go", "take", "open"}
    assert (len(task.samples), len(task.held_out)) == (30, 10)
    assert task.samples[0].question == f"House {task.samples[0].metadata['seed']}: open the chest."


@made
def test_branches_play_the_game_that_they_were_forked_in() -> None:
    groups = groups_of(4)
    assert sum(leaf.origin is Origin.BRANCH for group in groups for leaf in group.tree.leaves) > 0
    for group in groups:
        for trajectory in group.trajectories():
            said, outcome = played_alone(group, trajectory)
            assert [result.text for _, result in trajectory.calls] == said
            assert trajectory.outcome == outcome
            assert opened(group.sample, trajectory) == (-1.0 if trajectory.format_error else outcome)


@made
def test_the_packages_model_opens_some_chests_and_not_all() -> None:
    task = load("house", {"size": 1, "held_out": 30})
    found = aepo.evaluate("house", task, samples=4, greedy=False, config=load_config(None, LIMITS))
    assert 0.2 < found.passes(1).mean < 0.65
