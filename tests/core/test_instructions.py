"""The population of instructions: worked numbers, and what holds for any weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.advantages import group_relative
from aepo.core.instructions import (
    accepted,
    credited,
    draw,
    draw_probabilities,
    failures_first,
    groups_needed,
    question_credit,
    step_credit,
    survivors,
)

WEIGHTS = [0.05, 0.0, -0.02, -0.1]
P = [0.4118894141720898, 0.2596602916136319, 0.21712359727032765, 0.11132669694395059]

populations = st.lists(st.floats(-2, 2), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("weights", "temperature", "floor", "expected"),
    [
        ([0, 0, 0, 0], 0.1, 0.1, [0.25] * 4),
        (WEIGHTS, 0.1, 0.1, P),
        ([0.3, 0.1], 1.0, 0.0, [0.549833997312478, 0.4501660026875221]),
        (WEIGHTS, math.inf, 0.0, [0.25] * 4),
    ],
)
def test_draw_probabilities(weights: list[float], temperature: float, floor: float, expected: list[float]):
    assert draw_probabilities(weights, temperature, floor) == pytest.approx(expected, abs=1e-12)


@given(populations, st.floats(0.01, 10), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_a_draw_is_one_of_the_population_and_the_floor_holds(
    weights: list[float], temperature: float, floor: float, uniform: float
):
    probabilities = draw_probabilities(weights, temperature, floor)
    assert math.fsum(probabilities) == pytest.approx(1)
    assert min(probabilities) >= floor / len(weights) - 1e-12
    assert 0 <= draw(probabilities, uniform) < len(weights)


@pytest.mark.parametrize(("weights", "temperature", "floor"), [([], 0.1, 0.1), ([0.0], 0.0, 0.1), ([0.0], 0.1, 1.5)])
def test_bad_settings_are_refused(weights: list[float], temperature: float, floor: float):
    with pytest.raises(ValueError):
        draw_probabilities(weights, temperature, floor)


@pytest.mark.parametrize(("uniform", "j"), [(0.0, 0), (0.3, 0), (0.5, 1), (0.9, 3), (0.999999, 3)])
def test_draw(uniform: float, j: int):
    assert draw(P, uniform) == j


def test_credit_by_step():
    chosen, means = [0, 0, 1, 2], [0.5, 0.25, 0.75, 0.125]
    weights, visits = credited([0.0] * 3, [0] * 3, chosen, step_credit(means), 0.9)
    assert (weights, visits) == (pytest.approx([-0.03125, 0.34375, -0.28125]), [1, 1, 1])
    weights, visits = credited(weights, visits, [1, 1, 0, 0], step_credit([0.5, 0.5, 0.25, 0.375]), 0.9)
    assert weights == pytest.approx([-0.06414473684210527, 0.21217105263157893, -0.28125])
    assert visits == [2, 2, 1]


def test_credit_by_question_takes_off_the_question_and_the_drift():
    credits = question_credit([0.5, 0.25, 0.75, 0.125], [0.375, 0.25, 0.5, None])
    assert credits == pytest.approx([0.0, -0.125, 0.125, None])
    weights, visits = credited([0.0] * 3, [0] * 3, [0, 0, 1, 2], credits, 0.9)
    assert (weights, visits) == (pytest.approx([-0.0625, 0.125, 0.0]), [1, 1, 0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(-1, 1))
def test_rewards_that_all_rise_alike_credit_nobody(last: list[float], rise: float):
    credits = question_credit([one + rise for one in last], last)
    assert credits == pytest.approx([0.0] * len(last), abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "groups", "keep", "kept"),
    [
        (WEIGHTS, [9, 8, 8, 7], 2, [0, 1]),
        (WEIGHTS, [9, 8, 2, 7], 2, [0, 2]),
        ([0.1] * 4, [5] * 4, 2, [0, 1]),
        ([0.2, -0.3], [1, 1], 1, [0, 1]),
        ([-1.0, 0.5, 0.2], [9, 9, 9], 1, [0, 1]),
    ],
)
def test_survivors(weights: list[float], groups: list[int], keep: int, kept: list[int]):
    assert survivors(weights, groups, 5, keep) == kept


@given(populations, st.data())
def test_the_first_and_the_best_known_instruction_and_all_young_ones_stay(weights: list[float], data: st.DataObject):
    groups = data.draw(st.lists(st.integers(0, 10), min_size=len(weights), max_size=len(weights)))
    kept = survivors(weights, groups, 5, data.draw(st.integers(1, len(weights))))
    known = [j for j in range(len(weights)) if groups[j] >= 5]
    assert {0, *(j for j in range(len(weights)) if groups[j] < 5)} <= set(kept)
    assert not known or max(weights[j] for j in known) in [weights[j] for j in kept]


def test_candidates_above_the_worst_survivor_join_best_first():
    assert accepted([0.31, 0.44, 0.25, 0.44], 0.3, 2) == [1, 3]
    assert accepted([0.31, 0.44], 0.44, 2) == []
    assert accepted([0.5], 0.1, 0) == []


def test_failures_are_read_lowest_first_then_newest():
    paths = [(0, -1.0, 3), (1, 0.0, 5), (2, 1.1, 5), (3, 0.0, 4), (4, -1.0, 5)]
    assert failures_first(paths, 3, 1.0) == [4, 0, 1]


@pytest.mark.parametrize(("deviation", "difference", "groups"), [(0.35, 0.05, 376.4768), (0.17, 0.1, 22.204448)])
def test_groups_needed(deviation: float, difference: float, groups: float):
    assert groups_needed(deviation, difference) == pytest.approx(groups)


def test_a_baseline_inside_one_instruction_pays_no_instruction():
    rewards, instructions = torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 0]), torch.tensor([0] * 4 + [1] * 4)
    within = group_relative(rewards, instructions)
    assert within[:4].mean().item() == pytest.approx(0, abs=1e-6)
    assert within[4:].mean().item() == pytest.approx(0, abs=1e-6)
    across = group_relative(rewards, torch.zeros(8, dtype=torch.long))
    assert across[4:].mean().item() == pytest.approx(0.2415224791, abs=1e-5)
