"""Rewards of whole trajectories: format, the paper's reward, the check of values."""

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest

from aepo.rewards import checked, exact, f1, format_score, paper, with_format
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, ToolCall, ToolResult, ToolStatus, TrajectoryTree

SAMPLE = Sample("Where does the river end?", ["Black Sea", "the Euxine"], "r1")


def trajectory(answer, *calls, error=None, sample=SAMPLE):
    """One path that made `calls` (name, status) and gave `answer`."""
    tree = TrajectoryTree()
    at = tree.add(None, Kind.PROMPT, [1], 0)
    for name, status in calls:
        at = tree.add(at.id, Kind.POLICY, [2], 0)
        at.logprobs, at.entropies, at.calls = [0.0], [0.0], (ToolCall(name),)
        at = tree.add(at.id, Kind.OBSERVATION, [3], 0)
        at.results = (ToolResult("x", status),)
    at = tree.add(at.id, Kind.POLICY, [4], 0)
    at.logprobs, at.entropies = [0.0], [0.0]
    reason = StopReason.FORMAT if error else StopReason.ANSWER if answer is not None else StopReason.LENGTH
    tree.leaves.append(Leaf(0, at.id, Origin.PROBE, reason, answer, error))
    return next(Group(sample, tree).trajectories())


OK, BAD = ToolStatus.OK, ToolStatus.ERROR
BOTH = (("search", OK), ("python", OK))


def test_exact_and_f1_score_the_answer_only():
    assert exact(SAMPLE, trajectory("black sea.")) == 1.0
    assert exact(SAMPLE, trajectory("the Sea")) == 0.0
    assert f1(SAMPLE, trajectory("the Sea")) == pytest.approx(2 / 3)
    assert exact(SAMPLE, trajectory(None)) == f1(SAMPLE, trajectory(None)) == 0.0


def test_a_sample_without_a_target_is_named():
    for reward in (exact, f1, paper):
        with pytest.raises(ValueError, match="'r9' has no target"):
            reward(Sample("?", "", "r9"), trajectory("x"))


def test_paper_reward_adds_the_bonus_for_two_tools_that_worked():
    assert paper(SAMPLE, trajectory("Black Sea", *BOTH)) == pytest.approx(1.1)
    assert paper(SAMPLE, trajectory("the Sea", *BOTH)) == pytest.approx(2 / 3 + 0.1)
    assert paper(SAMPLE, trajectory("Black Sea")) == 1.0


@pytest.mark.parametrize("status", [s for s in ToolStatus if s not in (OK, ToolStatus.DONE)])
def test_a_tool_that_did_not_work_brings_no_bonus(status):
    assert paper(SAMPLE, trajectory("Black Sea", ("search", OK), ("python", status))) == 1.0


def test_the_same_tool_twice_brings_no_bonus():
    assert paper(SAMPLE, trajectory("Black Sea", ("search", OK), ("search", OK))) == 1.0


def test_a_wrong_answer_gets_no_bonus():
    assert paper(SAMPLE, trajectory("Danube", *BOTH)) == 0.0


@pytest.mark.parametrize("answer", [None, "", "  \n"])
def test_no_answer_costs_one(answer):
    assert paper(SAMPLE, trajectory(answer, *BOTH)) == -1.0
    assert format_score(SAMPLE, trajectory(answer)) == 0.0


def test_a_broken_format_costs_one_even_with_the_right_answer():
    broken = trajectory("Black Sea", *BOTH, error="<result> written by the policy")
    assert paper(SAMPLE, broken) == -1.0
    assert format_score(SAMPLE, broken) == 0.0
    assert format_score(SAMPLE, trajectory("anything")) == 1.0


def test_paper_scores_mathematics_as_mathematics():
    sample = Sample("Solve.", "3\\sqrt{3} - 6", "m1", {"score": "math"})
    assert paper(sample, trajectory("-6 + 3\\sqrt{3}", sample=sample)) == 1.0
    assert paper(sample, trajectory("3\\sqrt{3} + 6", sample=sample)) == 0.0
    with pytest.raises(ValueError, match="'m2': metadata score 'bleu'"):
        paper(Sample("?", "x", "m2", {"score": "bleu"}), trajectory("x"))


def test_with_format_asks_the_reward_only_for_a_sound_trajectory():
    asked = []

    def reward(sample, trajectory):
        asked.append(trajectory.answer)
        return 0.25

    scored = with_format(reward, broken=-0.5)
    assert scored(SAMPLE, trajectory("x")) == 0.25
    assert scored(SAMPLE, trajectory("y", error="unclosed tag")) == -0.5
    assert scored(SAMPLE, trajectory(None)) == -0.5
    assert asked == ["x"]


def test_a_broken_turn_that_the_model_was_told_of_may_cost_something():
    told = trajectory("Black Sea", *BOTH)
    told = replace(told, turns=[replace(told.turns[0], error="<think> is not closed"), *told.turns[1:]])
    assert told.format_errors == 1

    async def later(sample, trajectory):
        return exact(sample, trajectory)

    assert with_format(exact)(SAMPLE, told) == paper(SAMPLE, told) - 0.1 == format_score(SAMPLE, told) == 1.0
    assert with_format(exact, told=-0.25)(SAMPLE, told) == 0.75
    assert asyncio.run(with_format(later, told=-0.25)(SAMPLE, told)) == 0.75


def test_with_format_passes_an_async_reward_on():
    async def reward(sample, trajectory):
        return 0.75

    async def run():
        return await with_format(reward)(SAMPLE, trajectory("x"))

    assert asyncio.run(run()) == 0.75


@pytest.mark.parametrize("value", [0, 1.5, True, np.float32(0.5), np.array(2.0), np.array([3.0])[0]])
def test_checked_gives_a_float(value):
    assert checked(value, SAMPLE) == float(value)
    assert type(checked(value, SAMPLE)) is float


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "None"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("0.5", "'0.5'"),
        ([1.0, 2.0], "a list"),
        (np.array([1.0, 2.0]), "a ndarray"),
        (10**400, "a int"),
    ],
)
def test_checked_refuses_and_names_the_sample(value, told):
    with pytest.raises(ValueError, match=f"reward of sample 'r1' is {told}"):
        checked(value, SAMPLE)


def test_checked_tells_of_a_forgotten_await():
    async def reward():
        return 1.0

    waiting = reward()
    with pytest.raises(ValueError, match="sample 'r1' is an awaitable"):
        checked(waiting, SAMPLE)
    waiting.close()
