"""The alarm rings once when entropy leaves its band, with what to turn, and is silent before it can know."""

from __future__ import annotations

import json
from itertools import pairwise

from aepo.training.alarm import SMOOTHED_STEPS, EntropyWatch, advice


def watched(*entropies: float) -> list[EntropyWatch]:
    """The watch before and after each step."""
    watches = [EntropyWatch(0.3)]
    for entropy in entropies:
        watches.append(watches[-1].after(entropy))
    return watches


def lines(*entropies: float) -> list[str]:
    return [line for before, now in pairwise(watched(*entropies)) if (line := advice(before, now)) is not None]


def test_inside_the_band_there_is_no_alarm() -> None:
    steady = [1.0] * SMOOTHED_STEPS + [0.71, 1.29] * 5
    assert {watch.side for watch in watched(*steady)} == {"inside"}
    assert lines(*steady) == []


def test_the_first_steps_are_the_start_however_they_jump() -> None:
    assert {watch.side for watch in watched(5.0, 0.1, 3.0, 0.2, 1.7)} == {"inside"}


def test_entropy_is_compared_as_a_mean_over_steps() -> None:
    # Means of five after the fifth step: 0.8, 0.6.
    assert [watch.side for watch in watched(1, 1, 1, 1, 1, 0, 0)[-2:]] == ["inside", "below"]


def test_one_line_a_crossing_says_what_to_turn() -> None:
    fell, rose = lines(*[1.0] * 5, *[0.1] * 9, *[1.0] * 9, *[3.0] * 9)
    assert fell.startswith("policy entropy went from 1.000 to 0.640 nats, more than 30 % below its start: to keep exp")
    assert "lower train.learning_rate, or raise algorithm.clip_high" in fell
    assert "above its start: to calm it lower train.learning_rate" in rose
    assert all("\n" not in line for line in (fell, rose))


def test_coming_back_and_leaving_again_is_another_crossing() -> None:
    assert len(lines(*[1.0] * 5, *[0.1] * 9, *[1.0] * 9, *[0.1] * 9)) == 2


def test_an_entropy_of_zero_from_the_start_is_no_alarm() -> None:
    assert lines(*[0.0] * 20) == []


def test_it_goes_on_from_a_checkpoint_as_if_nothing_had_been() -> None:
    entropies = [1.0, 1.1, 0.9, 1.0, 1.0, 0.5, 0.2, 0.1, 0.2]
    whole = watched(*entropies)
    for at, watch in enumerate(whole):
        resumed = EntropyWatch.from_dict(json.loads(json.dumps(watch.to_dict())), 0.3)
        assert resumed == watch
        for entropy in entropies[at:]:
            resumed = resumed.after(entropy)
        assert resumed == whole[-1]
