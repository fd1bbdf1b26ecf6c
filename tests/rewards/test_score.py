"""Every leaf gets its reward; what is no finite number stops the run with the name of its sample."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import numpy as np
import pytest

from aepo.rewards.score import score
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, Trajectory, TrajectoryTree


def group(name: str, answers: list[str | None]) -> Group:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1, 2], 0).id
    for path, answer in enumerate(answers):
        node = tree.add(prompt, Kind.POLICY, [3 + path], path)
        node.logprobs, node.entropies = [-1.0], [1.0]
        tree.leaves.append(Leaf(path, node.id, Origin.GLOBAL, StopReason.ANSWER, answer))
    return Group(Sample("?", target="yes", id=name), tree)


GROUPS = [("a", ["yes", None, "no"]), ("b", ["yes", "yes"])]


def rewarded(reward: Callable[..., object]) -> list[list[float | None]]:
    groups = [group(*g) for g in GROUPS]
    anyio.run(score, groups, reward)
    return [[leaf.reward for leaf in g.tree.leaves] for g in groups]


def right(sample: Sample, trajectory: Trajectory) -> float:
    return float(trajectory.answer == sample.target)


def test_every_leaf_gets_its_own_reward() -> None:
    assert rewarded(right) == [[1.0, 0.0, 0.0], [1.0, 1.0]]


def test_a_reward_may_be_async() -> None:
    async def slowly(sample: Sample, trajectory: Trajectory) -> float:
        await anyio.lowlevel.checkpoint()
        return right(sample, trajectory)

    assert rewarded(slowly) == [[1.0, 0.0, 0.0], [1.0, 1.0]]


def test_a_reward_sees_the_trajectories_in_order() -> None:
    seen: list[tuple[str, int, list[int]]] = []

    def watching(sample: Sample, trajectory: Trajectory) -> int:
        seen.append((sample.id, trajectory.leaf.path, trajectory.tokens))
        return len(seen)

    assert rewarded(watching) == [[1.0, 2.0, 3.0], [4.0, 5.0]]
    assert seen[:2] == [("a", 0, [1, 2, 3]), ("a", 1, [1, 2, 4])] and seen[-1] == ("b", 1, [1, 2, 4])


def test_a_leaf_that_has_its_reward_is_not_asked_about_again() -> None:
    groups = [group(*g) for g in GROUPS]
    groups[0].tree.leaves[1].reward = 0.25
    asked: list[tuple[str, int]] = []

    def watching(sample: Sample, trajectory: Trajectory) -> float:
        asked.append((sample.id, trajectory.leaf.path))
        return 1.0

    anyio.run(score, groups, watching)
    assert groups[0].rewards == [1.0, 0.25, 1.0]
    assert asked == [("a", 0), ("a", 2), ("b", 0), ("b", 1)]


@pytest.mark.parametrize("number", [True, 3, np.float32(0.5), np.int64(2)])
def test_numbers_of_any_kind_become_floats(number: object) -> None:
    rewards = rewarded(lambda sample, trajectory: number)[0]
    assert all(type(reward) is float and reward == float(number) for reward in rewards)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "None"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("1.0", "'1.0'"),
        ([1.0], "a list"),
        (np.array([1.0, 2.0]), "a ndarray"),
    ],
    ids=["None", "nan", "inf", "text", "list", "array"],
)
def test_what_is_no_finite_number_is_refused_by_the_name_of_the_sample(value: object, told: str) -> None:
    with pytest.raises(ValueError) as error:
        rewarded(lambda sample, trajectory: value if sample.id == "b" else 1.0)
    assert str(error.value) == f"reward of sample 'b' is {told}: a reward must return one finite number"


@pytest.mark.parametrize("kind", [KeyError, ValueError])
def test_a_reward_that_raises_names_the_sample_in_a_note(kind: type[Exception]) -> None:
    def broken(sample: Sample, trajectory: Trajectory) -> float:
        if sample.id == "b":
            raise kind("missing")
        return 1.0

    with pytest.raises(kind) as error:
        rewarded(broken)
    assert error.value.__notes__ == ["in the reward of sample 'b'"]
