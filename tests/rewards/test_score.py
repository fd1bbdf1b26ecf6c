"""Every leaf gets its reward; what is no finite number stops the run with the name of its sample."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Callable

import anyio
import numpy as np
import pytest

from aepo.process import event_loop
from aepo.rewards.score import RewardBug, score
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


def test_a_reward_sees_each_trajectory_once_and_its_value_goes_to_that_one_whoever_is_first() -> None:
    seen: list[tuple[str, int, list[int]]] = []
    order = random.Random(3)

    async def watching(sample: Sample, trajectory: Trajectory) -> int:
        for _ in range(order.randrange(9)):
            await anyio.lowlevel.checkpoint()
        seen.append((sample.id, trajectory.leaf.path, trajectory.tokens))
        return trajectory.leaf.path

    assert rewarded(watching) == [[0.0, 1.0, 2.0], [0.0, 1.0]]
    assert seen != sorted(seen)
    assert sorted(seen) == [
        (name, path, [1, 2, 3 + path]) for name, paths in (("a", 3), ("b", 2)) for path in range(paths)
    ]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_rewards_are_asked_for_together_in_threads_but_no_more_than_wanted(at_once: int) -> None:
    everybody, lock = threading.Barrier(at_once), threading.Lock()
    now: list[int] = []
    most: list[int] = []

    def judge(sample: Sample, trajectory: Trajectory) -> float:
        with lock:
            now.append(1)
            most.append(len(now))
        if at_once != 2:  # five calls are no multiple of two
            everybody.wait(60)
        with lock:
            now.pop()
        return asyncio.run(answer())

    async def answer() -> float:
        return 1.0

    groups = [group(*g) for g in GROUPS]
    anyio.run(score, groups, judge, at_once)
    assert [g.rewards for g in groups] == [[1.0] * 3, [1.0] * 2] and max(most) <= at_once
    assert at_once == 2 or max(most) == at_once


def test_a_leaf_that_has_its_reward_is_not_asked_about_again() -> None:
    groups = [group(*g) for g in GROUPS]
    groups[0].tree.leaves[1].reward = 0.25
    asked: list[tuple[str, int]] = []  # from several threads

    def watching(sample: Sample, trajectory: Trajectory) -> float:
        asked.append((sample.id, trajectory.leaf.path))
        return 1.0

    anyio.run(score, groups, watching)
    assert groups[0].rewards == [1.0, 0.25, 1.0]
    assert sorted(asked) == [("a", 0), ("a", 2), ("b", 0), ("b", 1)]


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


BUGS: list[BaseException] = [
    KeyError("missing"),
    StopIteration(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError("by itself"),
    ExceptionGroup("several", [ValueError("one"), OSError("two")]),
    BaseExceptionGroup("several", [SystemExit(1), ValueError("one")]),
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_whatever_a_reward_raises_is_a_bug_of_it_told_in_one_line(bug: BaseException, kind: str) -> None:
    def broken(sample: Sample, trajectory: Trajectory) -> float:
        if sample.id == "b":
            raise bug
        return 1.0

    async def broken_async(sample: Sample, trajectory: Trajectory) -> float:
        await anyio.lowlevel.checkpoint()
        return broken(sample, trajectory)

    reward = broken if kind == "sync" else broken_async
    with pytest.raises(RewardBug) as error:
        event_loop.run(score, [group(*g) for g in GROUPS], reward)
    name = (
        "RuntimeError: coroutine raised StopIteration" if kind == "async" and isinstance(bug, StopIteration) else None
    )
    assert str(error.value).startswith(f"reward {reward.__name__} raised {name or type(bug).__name__}")
    assert str(error.value).endswith("of sample 'b'") and "\n" not in str(error.value)
    assert name or error.value.original is bug


def test_ctrl_c_does_not_wait_for_a_reward_that_hangs(interruptible: None) -> None:
    begun, never = threading.Event(), threading.Event()

    def hangs(sample: Sample, trajectory: Trajectory) -> float:
        if not begun.is_set():
            begun.set()
            os.kill(os.getpid(), signal.SIGINT)
        never.wait()
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        event_loop.run(score, [group(*g) for g in GROUPS], hangs)
    never.set()
