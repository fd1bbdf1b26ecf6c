import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.scale import MODES, EntropyScale, running_mean, segment_entropy

VOCAB = 151936
LN_VOCAB = 11.931215
PER_TOKEN = 1.237352  # nats, of the ten probabilities in test_entropy.py
differences = st.lists(st.floats(-20.0, 20.0), max_size=8)


def test_golden_reference_entropies() -> None:
    scale = EntropyScale("reference", VOCAB)
    assert math.log(VOCAB) == pytest.approx(LN_VOCAB, abs=1e-6)
    assert scale(segment_entropy([PER_TOKEN] * 20, 20, "reference")) == pytest.approx(2.074142, abs=1e-6)
    assert scale(segment_entropy([math.log(10)] * 30, 20, "reference")) == pytest.approx(3.859766, abs=1e-6)
    # The paper's unit is a sum, too; a mean over ln V would be 20 times smaller.
    summed = EntropyScale("log_vocab", VOCAB)(segment_entropy([PER_TOKEN] * 20, 20, "log_vocab"))
    assert summed == pytest.approx(20 * 0.103707, abs=2e-5)
    rise = EntropyScale("log_vocab", VOCAB)(20 * 0.3)
    assert rise == pytest.approx(0.502882579160603, abs=1e-12)


def test_a_segment_is_its_first_tokens() -> None:
    assert segment_entropy([1.0, 2.0, 9.0], window=2) == 1.5
    assert segment_entropy([1.0, 2.0], window=20) == 1.5
    assert segment_entropy([1.0, 2.0], 20, "reference") == segment_entropy([1.0, 2.0], 20, "log_vocab") == 3.0


def test_an_empty_segment_or_window_is_refused() -> None:
    with pytest.raises(ValueError, match="segment without tokens"):
        segment_entropy([])
    with pytest.raises(ValueError, match="entropy_window is 0"):
        segment_entropy([1.0], window=0)


@pytest.mark.parametrize("mode", ["running", "centered", "nats"])
def test_before_the_first_step_a_difference_is_in_nats(mode: str) -> None:
    assert EntropyScale(mode)(0.7) == 0.7


def test_running_divides_by_the_root_mean_square() -> None:
    scale = EntropyScale("running").updated([3.0, -4.0, 0.0, 0.0])
    assert scale(5.0) == pytest.approx(5.0 / 2.5)
    assert scale(-5.0) == -scale(5.0)


def test_centered_measures_from_the_running_mean() -> None:
    scale = EntropyScale("centered").updated([1.0, 3.0])
    assert scale(2.0) == 0.0
    assert scale(3.0) == pytest.approx(1.0)
    assert scale(1.0) == pytest.approx(-1.0)


def test_fixed_modes_do_not_follow_the_run() -> None:
    for scale in (EntropyScale("nats"), EntropyScale("log_vocab", 100), EntropyScale("reference", 100)):
        assert scale.updated([5.0, 7.0])(1.0) == scale(1.0)
    assert EntropyScale("log_vocab", 100)(math.log(100)) == 1.0


def test_the_first_step_counts_in_full_and_the_past_fades() -> None:
    first = EntropyScale("running").updated([2.0])
    assert first.mean_square == 4.0
    late = first
    for _ in range(200):
        late = late.updated([0.5, -0.5])
    assert late.mean_square == pytest.approx(0.25)


@given(st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=30))
def test_the_running_mean_is_the_weighted_mean_of_all_steps(values: list[float]) -> None:
    mean = 0.0
    for steps, value in enumerate(values, 1):
        mean = running_mean(mean, value, steps, 0.9)
    weights = [0.9**age for age in range(len(values))][::-1]
    assert mean == pytest.approx(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights), abs=1e-9)


@given(st.sampled_from(MODES), st.lists(differences, max_size=5), st.floats(-1e3, 1e3))
def test_scales_are_finite_keep_their_order_and_survive_json(
    mode: str, steps: list[list[float]], difference: float
) -> None:
    scale = EntropyScale(mode, VOCAB)
    for step in steps:
        scale = scale.updated(step)
    assert math.isfinite(scale(difference))
    assert scale(difference) <= scale(difference + 1.0)
    if mode != "centered":
        assert math.copysign(1.0, scale(difference)) == math.copysign(1.0, difference)
    assert EntropyScale.from_dict(json.loads(json.dumps(scale.to_dict()))) == scale


def test_a_step_without_differences_changes_nothing() -> None:
    scale = EntropyScale("running").updated([2.0])
    assert scale.updated([]) == scale


def test_equal_entropies_are_not_magnified_without_bound() -> None:
    assert EntropyScale("running").updated([0.0, 0.0])(1e-7) == pytest.approx(0.1)


def test_impossible_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown entropy_scale 'bits', known are running"):
        EntropyScale("bits")
    with pytest.raises(ValueError, match="'log_vocab' needs a vocab_size"):
        EntropyScale("log_vocab")
    with pytest.raises(ValueError, match="decay"):
        EntropyScale(decay=1.0)
    with pytest.raises(ValueError, match="not finite"):
        EntropyScale().updated([1.0, math.nan])
