"""Limits, prices, and how trajectories are divided into rounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.solving.budget import SolvingBudget, SolvingPrices, rounds


def test_without_a_limit_there_is_one_group_and_beside_another_limit_there_are_many() -> None:
    assert SolvingBudget().most_trajectories == 8 and not SolvingBudget().holds_back
    assert SolvingBudget(calls=9).most_trajectories == 64 and SolvingBudget(calls=9).holds_back
    assert SolvingBudget(trajectories=3, money=0.1).most_trajectories == 3


def test_a_request_costs_what_it_reads_and_what_it_writes() -> None:
    assert SolvingPrices(input=0.5, output=2.0).of(1_000_000, 500_000) == 1.5


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ({"trajectories": 0}, "a budget of 0 trajectories: give at least 1"),
        ({"calls": -1}, "a budget of -1 calls: give at least 0"),
        ({"tokens": 0}, "a budget of 0 tokens: give at least 1"),
        ({"money": 0.0}, "a budget of 0 money"),
        ({"money": float("nan")}, "a budget of nan money"),
    ],
)
def test_a_limit_that_allows_nothing_is_refused(limits: dict[str, float], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        SolvingBudget(**limits)  # type: ignore[arg-type]


def test_a_price_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a price of -1"):
        SolvingPrices(output=-1.0)


def test_rounds_are_as_few_and_as_equal_as_can_be() -> None:
    assert rounds(8, 8) == [8] and rounds(9, 8) == [5, 4] and rounds(20, 8) == [7, 7, 6] and rounds(1, 8) == [1]


@given(st.integers(1, 200), st.integers(1, 40))
def test_rounds_use_every_trajectory_and_none_is_larger_than_a_group(trajectories: int, group: int) -> None:
    sizes = rounds(trajectories, group)
    assert sum(sizes) == trajectories and max(sizes) <= group and max(sizes) - min(sizes) <= 1
