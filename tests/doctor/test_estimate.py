"""The formulas, worked by hand."""

from aepo import config as configuration
from aepo.doctor.estimate import Lengths, Speed, limits, memory, pass_tokens, seconds
from aepo.doctor.measure import distinct_tokens
from aepo.doctor.training_memory import TrainingMemory
from aepo.doctor.trial import Trial
from aepo.engines.local.shape import Shape

SHAPE = Shape(1000, layers=2, hidden=8, inner=32, heads=8, pairs=4, vocabulary=100, positions=512)
SETTINGS = [
    "algorithm.group_size=4",
    "rollout.questions=3",
    "rollout.max_sequences=8",
    "rollout.max_tokens=20",
    "train.micro_batch_tokens=50",
]


COUNTED = TrainingMemory(parameters=1000, trained=1000, weights=4000, copied=3000, held=12_000, worst=50_000)


def test_memory_is_weights_training_cache_and_one_pass() -> None:
    need = memory(configuration.load(None, SETTINGS), SHAPE, COUNTED, "float32", on_cpu=True, prompt=10)
    # Two engines have a copy each of the weights that the direct pass reads.
    assert (need.weights, need.training, need.activations) == (4000 + 2 * 3000, 12_000, 50_000)
    # 8 of 12 trajectories at once, 30 tokens each, 2 layers, keys and values of 4 numbers; logits five times.
    assert need.cache == 8 * 30 * 2 * 2 * 4 * 4 + 5 * 4 * 8 * 100
    assert need.total == need.weights + need.training + need.cache + need.activations


def test_on_a_gpu_rollout_and_training_take_turns() -> None:
    need = memory(configuration.load(None, SETTINGS), SHAPE, COUNTED, "bfloat16", on_cpu=False, prompt=10)
    assert need.total == need.weights + need.training + max(need.cache, need.activations)


def test_a_reference_has_weights_of_its_own_unless_adapters_are_trained() -> None:
    def weights(*settings: str) -> int:
        config = configuration.load(None, [*SETTINGS, *settings])
        return memory(config, SHAPE, COUNTED, "float32", on_cpu=False, prompt=10).weights

    assert weights("algorithm.kl_weight=0.1") == 8000
    assert weights("algorithm.kl_weight=0.1", "model.lora.rank=4") == weights() == 4000


def test_a_pass_has_as_many_tokens_as_it_may_and_as_there_are() -> None:
    def tokens(*settings: str) -> int:
        return pass_tokens(configuration.load(None, [*SETTINGS, *settings]), prompt=10)

    assert tokens() == 50
    # A question of four trajectories an optimizer step.
    assert tokens("train.micro_batch_tokens=1000") == 4 * 30
    assert tokens("train.micro_batch_tokens=1000", "train.minibatches=1") == 3 * 4 * 30
    assert tokens("train.micro_batch_tokens=7") == 30, "a trajectory goes alone, whatever its length"


def test_the_limits_give_the_most_tokens_there_can_be() -> None:
    found = limits(configuration.load(None, SETTINGS), prompt=10)
    assert found == Lengths(written=240, longest=20, read=30, distinct=270)


def test_time_is_calls_and_rows_and_passes() -> None:
    config = configuration.load(None, [*SETTINGS, "train.epochs=2"])
    lengths = Lengths(written=120, longest=15, read=60, distinct=180)
    rollout, update = seconds(config, lengths, Speed(fixed=0.1, row=0.01, train=0.001))
    # Twelve trajectories, eight at a time: the engine is filled twice.
    assert abs(rollout - (2 * 15 * 0.1 + 120 * 0.01 + 60 * 0.001 / 3)) < 1e-9
    assert abs(update - 2 * 180 * 0.001) < 1e-9


def test_a_trial_is_scaled_by_its_questions_but_calls_are_not_made_more_often() -> None:
    lengths = Lengths(written=120, longest=15, read=60, distinct=180, trial=Trial([], seconds=2.0, scale=3.0))
    rollout, update = seconds(configuration.load(None, SETTINGS), lengths, Speed(fixed=0.1, row=0.01, train=0.001))
    assert abs(rollout - (3 * 2.0 - 2 * 15 * 0.1)) < 1e-9 and abs(update - 0.18) < 1e-9


def test_equal_beginnings_are_counted_once() -> None:
    assert distinct_tokens([[1, 2, 3], [1, 2, 4], [2, 2], [1, 2, 3]]) == 6
