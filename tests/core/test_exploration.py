import json
import math

import pytest

from aepo.core.exploration import Candidate, Ended, ExplorationState, IndependentSamples
from aepo.core.scale import MODES
from tests.rules import branching


def test_independent_samples_never_branch() -> None:
    rules = IndependentSamples(8)
    state = rules.initial_state(1000)
    assert (rules.head_start(), rules.probes, rules.global_samples(None, state)) == (8, 0, 8)
    asked = [Candidate(path, 5.0 + rise, 5.0, 0, 0.5) for path, rise in enumerate((9.0, -9.0))]
    decisions = rules.decide(asked, 1, 0, 0, 1.0, state)
    assert [(d.branches, d.stopped_by, d.delta) for d in decisions] == [(0, "budget", 9.0), (0, "budget", -9.0)]
    assert rules.restarts([Ended(0, [])], 0, 1.0) == []
    assert not (rules.watches or rules.needs_rewards or rules.needs_call_entropy)


@pytest.mark.parametrize("mode", MODES)
def test_the_state_survives_json(mode: str) -> None:
    state = branching(8, entropy_scale=mode).initial_state(1000)
    assert state.mean_observations is None
    for step in range(3):
        assert ExplorationState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
        state = state.updated([0.1 * step, 0.3], [-1 / 3, 0.7], [1, 2, 2])
    assert ExplorationState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_the_state_follows_whole_steps() -> None:
    state = branching(8).initial_state(1000).updated([3.0], [2.0, -2.0], [1, 2, 3, 4])
    assert (state.gap(3.0), state.delta(3.0), state.mean_observations) == (1.0, 1.5, 2.5)
    later = state.updated([], [], [4, 4])
    assert (later.gap, later.delta) == (state.gap, state.delta)
    assert later.mean_observations == pytest.approx((0.9 * 2.5 + 4.0) / 1.9)
    assert later.updated([], [], []) == later
    assert branching(8).initial_state(1000).updated([], [], [0, 0]).mean_observations == 0.0


def test_only_deltas_are_centered() -> None:
    state = branching(8, entropy_scale="centered").initial_state(1000)
    assert (state.gap.mode, state.delta.mode) == ("running", "centered")
    centered = state.updated([2.0], [1.0, 3.0], [1])
    assert (centered.gap(2.0), centered.delta(2.0)) == (1.0, 0.0)


def test_fixed_scales_know_the_vocabulary() -> None:
    state = branching(8, entropy_scale="log_vocab").initial_state(1000)
    assert state.gap(math.log(1000)) == state.delta(math.log(1000)) == 1.0
