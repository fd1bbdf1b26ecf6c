from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.exploration import Ended, Restart, Step
from aepo.core.resampling import CallResampling
from aepo.types import SUCCESS

RULES = CallResampling(8, 4)


def path(number: int, reward: float, *entropies: float) -> Ended:
    """An ended path with the entropies of its calls."""
    return Ended(number, [Step(i, 0.5, None, entropy) for i, entropy in enumerate(entropies, 1)], reward)


def before(*calls: tuple[int, int]) -> list[Restart]:
    return [Restart(number, call, before_call=True) for number, call in calls]


def test_the_most_uncertain_calls_are_made_anew() -> None:
    ended = [path(0, 0.0, 0.5, 2.0), path(1, 0.9, 1.0), path(2, -1.0, 0.1, 0.2)]
    assert RULES.restarts(ended, 3, 1.0) == before((0, 2), (1, 1), (0, 1))


def test_the_papers_rule_takes_first_calls_by_probability_and_several_continuations_of_each() -> None:
    rules = CallResampling(12, 6, candidates="first", rank="probability", continuations=4, inside_call=True)
    assert rules.needs_call_probability and not rules.needs_call_entropy and rules.needs_rewards
    probabilities = {0: (0.93, 0.1), 1: (0.71,), 2: (0.88,), 3: (0.71,), 4: ()}
    ended = [
        Ended(number, [Step(i, 0.5, None, None, p) for i, p in enumerate(calls, 1)], 0.0)
        for number, calls in probabilities.items()
    ]
    expected = [Restart(1, 1, before_call=True, inside_call=True)] * 4
    assert rules.restarts(ended, 6, 1.0) == expected + [Restart(3, 1, before_call=True, inside_call=True)] * 2
    order = [found.path for found in replace(rules, continuations=1).restarts(ended, 4, 1.0)]
    assert order == [1, 3, 2, 0]
    with pytest.raises(ValueError, match="probability of a call"):
        rules.restarts([path(0, 0.0, 1.0)], 1, 1.0)
    with pytest.raises(ValueError, match="continuations is 0"):
        CallResampling(8, 4, continuations=0)


def test_each_call_is_taken_once_before_any_is_taken_again() -> None:
    assert RULES.restarts([path(0, 0.0, 0.5, 2.0), path(1, 0.0)], 5, 1.0) == before(
        (0, 2), (0, 1), (0, 2), (0, 1), (0, 2)
    )


def test_ties_go_by_path_and_then_by_call() -> None:
    ended = [path(1, 0.0, 1.0, 1.0), path(0, 0.0, 1.0)]
    assert RULES.restarts(ended, 3, 1.0) == before((0, 1), (1, 1), (1, 2))


@pytest.mark.parametrize("reward", [SUCCESS, 1.1])
def test_one_use_of_a_tool_that_succeeded_is_enough(reward: float) -> None:
    assert RULES.restarts([path(0, 0.0, 1.0), path(1, reward, 0.1)], 4, 1.0) == []


def test_what_was_reached_without_a_tool_does_not_count() -> None:
    assert RULES.restarts([path(0, 0.0, 1.0), path(1, 1.0)], 1, 1.0) == before((0, 1))


def test_where_nobody_called_a_tool_there_is_nothing_to_make_anew() -> None:
    assert RULES.restarts([path(0, 0.0), path(1, 0.0)], 4, 1.0) == []


def test_all_but_r_start_at_once() -> None:
    state = RULES.initial_state(1000)
    assert (RULES.head_start(), RULES.global_samples(None, state), RULES.probes) == (4, 4, 0)
    assert (RULES.needs_rewards, RULES.needs_call_entropy, RULES.watches) == (True, True, False)
    assert RULES.decide([], 1, 0, 4, 1.0, state) == []


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (replace(path(3, 0.0, 1.0), reward=None), "cannot do without the reward: path 3 has none"),
        (Ended(3, [Step(1, 0.5)], 0.0), "cannot do without the entropy of a call: path 3 has none"),
    ],
)
def test_what_was_not_measured_is_refused(ended: Ended, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RULES.restarts([ended], 1, 1.0)


@pytest.mark.parametrize("resamples", [0, 8, -1])
def test_somebody_waits_and_somebody_is_waited_for(resamples: int) -> None:
    with pytest.raises(ValueError, match=f"resamples is {resamples}, it must be between 1 and group_size - 1 = 7"):
        CallResampling(8, resamples)


ENTROPIES = st.lists(st.floats(0.0, 9.0), max_size=4)


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.9]), ENTROPIES), max_size=6), st.integers(1, 12), st.randoms())
def test_resampled_calls_are_spread_evenly_and_none_is_passed_over(
    told: list[tuple[float, list[float]]], slots: int, random
) -> None:
    ended = [path(number, reward, *entropies) for number, (reward, entropies) in enumerate(told)]
    found = RULES.restarts(ended, slots, 1.0)
    calls = {(p.path, s.observation): s.call_entropy for p in ended for s in p.steps}
    assert len(found) == (slots if calls else 0) and all(r.before_call for r in found)
    times = {place: sum((r.path, r.observation) == place for r in found) for place in calls}
    if times:
        assert max(times.values()) - min(times.values()) <= 1
        entropy_by_times = [
            [calls[place] for place in places]
            for _, places in groupby(sorted(times, key=times.__getitem__), times.__getitem__)
        ]
        for fewer, more in pairwise(entropy_by_times):
            assert max(fewer) <= min(more)
    random.shuffle(ended)
    assert RULES.restarts(ended, slots, 1.0) == found
