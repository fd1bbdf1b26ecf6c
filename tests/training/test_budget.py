"""A run counts what it uses, each shared token and call once, and ends with the step that uses up its budget."""

from __future__ import annotations

import pytest

from aepo.config import ConfigError, TrainConfig, load
from aepo.training.budget import Spent, ended, steps_at_most
from tests.training.test_metrics import branching_group, silent_group


def test_shared_tokens_and_calls_count_once() -> None:
    spent = Spent().after([branching_group()])
    assert spent == Spent(trajectories=5, tokens_sampled=11, executed_calls=3)
    again = spent.after([branching_group(), silent_group()])
    assert again == Spent(12, 24, 6)
    assert Spent.from_dict(again.to_dict()) == again == Spent.from_metrics({**again.metrics(), "step": 2})
    assert again.metrics() == {"budget/trajectories": 12, "budget/tokens_sampled": 24, "budget/executed_calls": 6}


@pytest.mark.parametrize(
    ("limits", "at_end"),
    [
        ({}, False),
        ({"steps": 3}, True),
        ({"max_trajectories": 24}, True),
        ({"max_trajectories": 25}, False),
        ({"max_sampled_tokens": 100}, True),
        ({"max_sampled_tokens": 101}, False),
        ({"max_executed_calls": 7}, True),
        ({"max_executed_calls": 8}, False),
        ({"max_trajectories": 1000, "max_executed_calls": 7}, True),
    ],
)
def test_a_run_ends_at_the_first_of_its_limits(limits: dict[str, int], at_end: bool) -> None:
    assert ended(3, Spent(24, 100, 7), TrainConfig(**limits)) is at_end


def test_steps_until_the_trajectories_are_used() -> None:
    assert steps_at_most(TrainConfig(steps=9), 16) == 9
    assert steps_at_most(TrainConfig(steps=9, max_trajectories=33), 16) == 3
    assert steps_at_most(TrainConfig(steps=2, max_trajectories=33), 16) == 2


@pytest.mark.parametrize("name", ["max_trajectories", "max_sampled_tokens", "max_executed_calls"])
def test_less_than_one_group_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(None, [f"train.{name}=7"])
    assert str(error.value) == (
        f"train.{name} is 7, less than one group of 8 trajectories can use: raise it, or lower algorithm.group_size"
    )
    assert getattr(load(None, [f"train.{name}=8"]).train, name) == 8
