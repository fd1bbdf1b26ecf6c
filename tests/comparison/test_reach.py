"""What it took to be as good as the first entry, and where entropy went: worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.comparison.plan import Plan, load, plan
from aepo.comparison.reach import crossing, entropy_table, reach_table
from aepo.comparison.results import Result
from tests.comparison.staged import result


def planned() -> Plan:
    return plan(load(None, ["seeds=0,1", "budget.amount=20"]))


def evaluated(label: str, seed: int, success: Sequence[float], calls: float) -> Result:
    """A run evaluated before training and after each step, of which each executes `calls`."""
    rows = [
        {
            "step": at,
            "eval/success": value,
            **(
                {f"budget/{used}": at * calls for used in ("trajectories", "tokens_sampled", "executed_calls")}
                if at
                else {}
            ),
        }
        for at, value in enumerate(success)
    ]
    return replace(result(label, seed, [[1, 0]]), evaluations=rows)


def test_the_line_between_two_evaluations_is_crossed_where_it_is_at_the_level() -> None:
    assert crossing([0, 10, 20], [0.2, 0.4, 0.6], 0.5) == pytest.approx(15)
    assert crossing([0, 10], [0.2, 0.4], 0.5) is None
    assert crossing([5, 10], [0.6, 0.4], 0.5) == 5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_a_level_is_reached_exactly_when_some_point_reaches_it(values: list[float], level: float) -> None:
    found = crossing(range(len(values)), values, level)
    assert (found is None) == (max(values) < level)
    assert found is None or 0 <= found <= len(values) - 1


def test_calls_to_reach_the_first_entrys_best_are_those_of_the_mean_over_seeds() -> None:
    results = [
        evaluated("grpo", 0, [0.2, 0.4, 0.6], 100),
        evaluated("grpo", 1, [0.2, 0.4, 0.4], 100),
        evaluated("aepo", 0, [0.2, 0.6, 0.7], 80),
        evaluated("aepo", 1, [0.2, 0.4, 0.5], 80),
    ]
    head, grpo, aepo = reach_table(planned(), results)
    assert head[0] == "to reach 50.0 %" and head[-1] == "calls of grpo's"
    assert grpo == ["grpo", "200", "200", "200", "1.00"]
    assert aepo == ["aepo", "80", "80", "80", "0.40"]


def test_who_never_comes_so_far_is_said_to_never_reach_it() -> None:
    results = [evaluated("grpo", 0, [0.2, 0.4, 0.6], 100), evaluated("aepo", 0, [0.2, 0.3, 0.4], 80)]
    assert reach_table(planned(), results)[2] == ["aepo", "never", "never", "never", "-"]


def test_runs_without_evaluations_on_the_way_have_no_table() -> None:
    assert reach_table(planned(), [evaluated("grpo", 0, [0.2, 0.4], 100)]) == []


def test_entropy_is_compared_with_the_mean_of_its_first_steps() -> None:
    values = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    run = replace(result("grpo", 0, [[1]]), steps=[{"step": n, "entropy/policy": v} for n, v in enumerate(values)])
    head, grpo = entropy_table(planned(), [run], 0.3)
    assert head[-2:] == ["steps below -30 %", "above +30 %"]
    # Running means over five steps: 1, 1, .8, .6, .4, .2, 0 - four of seven differ by more than 0.3.
    assert grpo == ["grpo", "1.000", "0.000", "1.000", "0.000", "57 %", "0 %"]
    erupted = replace(run, steps=[{"step": n, "entropy/policy": 2 - v} for n, v in enumerate(values)])
    assert entropy_table(planned(), [erupted], 0.3)[1][-2:] == ["0 %", "57 %"]
    assert entropy_table(planned(), [run], None) == []
