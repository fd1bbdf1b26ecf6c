"""Under which name a command finds a task that was made in Python."""

from __future__ import annotations

from dataclasses import replace

import aepo
from aepo.tasks.named import place_of

MODULE = __name__
QUESTIONS = [aepo.Sample("1 + 1?", "2")]


def right(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
    """1 for the target."""
    return float(trajectory.answer == sample.target)


def sums(count: int = 1) -> aepo.Task:
    """A task of a function that needs no argument."""
    return aepo.Task("sums", QUESTIONS[:count], reward=right)


def needing(count: int) -> aepo.Task:
    """A command has nothing to give it."""
    return aepo.Task("needing", QUESTIONS[:count], reward=right)


KEPT = aepo.Task("kept", QUESTIONS, reward=right)


def test_it_is_the_function_that_makes_the_task() -> None:
    assert place_of(sums()) == f"{MODULE}:sums"


def test_it_is_the_task_itself_where_a_module_keeps_it() -> None:
    assert place_of(KEPT) == f"{MODULE}:KEPT"


def test_a_task_that_names_its_place_keeps_it() -> None:
    assert place_of(replace(sums(), name="elsewhere:sums")) == "elsewhere:sums"


def test_a_reward_that_depends_on_a_function_s_values_has_no_place() -> None:
    def above(least: float):
        def reward(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
            return float(len(trajectory.answer or "") > least)

        return reward

    assert place_of(replace(sums(), reward=above(1))) is None
    assert place_of(replace(sums(), reward=lambda sample, trajectory: 1.0)) is None


def test_the_only_function_that_returns_tasks_without_an_argument_has_made_it() -> None:
    # Its caller compares the two tasks: `place_of` calls nothing.
    assert place_of(replace(KEPT, name="needing")) == f"{MODULE}:sums"
