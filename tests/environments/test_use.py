"""`aepo.evaluate`, `aepo.solve` and several environments in one task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import aepo
from aepo import config
from aepo.environments.contract import seed_of
from aepo.types import StopReason
from tests import tiny
from tests.environments.test_runs import Letters


class Backwards(Letters):
    """Other rooms, with the same words."""

    def search(self, query: str) -> str:
        """Look something up, backwards.

        Args:
            query: What to look up.
        """
        return super().search(query)[::-1]


def settings(model: Path, *overrides: str) -> aepo.Config:
    return config.load(None, tiny.settings(Path("unused"), model, *overrides))


def played(kind: type[Any], sample: aepo.Sample, calls: list[dict[str, Any]]) -> float:
    world = kind()
    world.reset(sample.question, seed_of(sample))
    for arguments in calls:
        world.search(**arguments)
    return world.get_reward()


def test_a_policy_is_evaluated_in_worlds(model_folder: Path) -> None:
    task = aepo.Task("letters", tiny.samples(6), system="", environment=aepo.environment(Letters))
    found = aepo.evaluate(str(model_folder), task, samples=4, config=settings(model_folder))
    for group in (*found.sampled, *found.greedy):
        for one in group.trajectories():
            assert one.reward == played(Letters, group.sample, [call.arguments for call, r in one.calls if r.executed])


def test_a_question_is_asked_in_its_own_environment(model_folder: Path) -> None:
    kinds = {"forwards": Letters, "backwards": Backwards}
    samples = [
        aepo.Sample(one.question, id=one.id, metadata={"environment": list(kinds)[number % 2]})
        for number, one in enumerate(tiny.samples(8))
    ]
    made = {name: aepo.environment(kind) for name, kind in kinds.items()}
    task = aepo.Task("both", samples, system="", environment=made)
    found = aepo.evaluate(str(model_folder), task, samples=4, config=settings(model_folder))
    shown = {"forwards": set(), "backwards": set()}
    for group in found.sampled:
        kind = kinds[group.sample.metadata["environment"]]
        for one in group.trajectories():
            world = kind()
            world.reset(group.sample.question, seed_of(group.sample))
            for call, result in one.calls:
                if not result.executed:
                    continue
                assert result.text == world.search(**call.arguments)
                shown[group.sample.metadata["environment"]].add(result.text)
            assert one.reward == world.get_reward()
    assert all(shown.values())


@pytest.mark.parametrize("sandboxed", [True, False])
def test_a_solution_is_the_actions_of_the_best_trajectory(
    model_folder: Path, sandboxed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made = aepo.environment(Letters, sandboxed=sandboxed)
    task = aepo.Task("letters", tiny.samples(1), system="", environment=made)
    sample = aepo.Sample("ab", id="mine")
    found = aepo.solve(str(model_folder), sample, task=task, trajectories=12, config=settings(model_folder))
    best = max(leaf.outcome for group in found.groups for leaf in group.tree.leaves)
    assert played(Letters, sample, [call.arguments for call in found.actions]) == best
    assert found.chosen_by == "reward"
    assert ("several trajectories act in environment Letters" in caplog.text) is not sandboxed
    assert found.to_dict()["actions"] == [{"name": c.name, "arguments": c.arguments} for c in found.actions]


class Silent(Letters):
    """Says nothing about what its last state is worth."""

    get_reward = None  # type: ignore[assignment]


def test_without_a_reward_the_vote_chooses_the_actions(model_folder: Path) -> None:
    task = aepo.Task("letters", tiny.samples(1), system="", environment=aepo.environment(Silent))
    found = aepo.solve(str(model_folder), "ab", task=task, trajectories=12, config=settings(model_folder))
    assert found.chosen_by == "vote"
    chosen = [t for group in found.groups for t in group.trajectories() if t.answer == found.answer]
    assert list(found.actions) == [call for call, result in chosen[0].calls if result.worked]
    assert {leaf.outcome for group in found.groups for leaf in group.tree.leaves} == {None}
    assert StopReason.DONE in {leaf.stop_reason for group in found.groups for leaf in group.tree.leaves}
