"""Threads are chosen anew when updates became slower or faster for good, and not too often."""

import itertools

import pytest

from aepo.training.slowdown import CHANGED, REST, UpdateSpeed


def told(seconds: list[float], tokens: float = 1000.0) -> list[int]:
    """The steps, from 1, after which threads are chosen anew."""
    speed, found = UpdateSpeed(), []
    for step, taken in enumerate(seconds, start=1):
        speed, changed = speed.after(taken, tokens)
        found += [step] * changed
    return found


def test_a_steady_speed_chooses_nothing():
    assert told([1.0, 1.2, 0.9, 1.4, 1.0, 0.8] * 5) == []


@pytest.mark.parametrize("factor", [1.1 * CHANGED, 20.0, 1 / (1.1 * CHANGED), 0.01])
def test_slower_and_faster_are_both_a_reason(factor):
    assert told([1.0] * 5 + [factor] * 2) == [7]


def test_one_step_alone_is_none():
    assert told([1.0, 1.0, 1.0, 1.0, 10.0, 0.1] * 5) == []


def test_after_a_choice_the_next_step_is_what_later_ones_are_compared_with():
    assert told([1.0] * 5 + [10.0] * 20) == [7]


def test_two_choices_are_some_steps_apart():
    found = told([1.0] * 4 + [10.0] * 4 + ([1.0] * 3 + [10.0] * 3) * 10)
    assert found and all(b - a > REST for a, b in itertools.pairwise(found))


def test_longer_answers_are_no_slowdown():
    speed = UpdateSpeed()
    for tokens in (1000.0, 5000.0, 200.0, 1000.0, 8000.0):
        speed, changed = speed.after(tokens * 1e-3, tokens)
        assert not changed


def test_an_update_without_tokens_says_nothing():
    speed, _ = UpdateSpeed().after(1.0, 1000.0)
    assert speed.after(5.0, 0.0) == (speed, False)
