"""The formulas, worked by hand."""

from aepo import config as configuration
from aepo.doctor.estimate import Lengths, Speed, limits, memory, seconds
from aepo.doctor.measure import distinct_tokens
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


def test_memory_is_weights_training_cache_and_one_pass() -> None:
    need = memory(configuration.load(None, SETTINGS), SHAPE, 1000, "float32", on_cpu=True, prompt=10)
    assert need.weights == 4000 and need.training == 12_000
    # 8 of 12 trajectories at once, 30 tokens each, 2 layers, keys and values of 4 numbers.
    assert need.cache == 8 * 30 * 2 * 2 * 4 * 4
    layer = (8 * 8 + 2 * 8 + 3 * 4 + 4 * 32) * 4
    # Logits, and two copies; the last hidden state, in float32 too with its gradient.
    assert need.activations == 50 * (2 * layer + 8 * 12) + 3 * 50 * 100 * 4
    assert need.total == need.weights + need.training + need.cache + need.activations


def test_on_a_gpu_rollout_and_training_take_turns() -> None:
    need = memory(configuration.load(None, SETTINGS), SHAPE, 1000, "bfloat16", on_cpu=False, prompt=10)
    assert need.total == need.weights + need.training + max(need.cache, need.activations) and need.weights == 2000
    # A gradient of two bytes; master, its gradient and two moments of four.
    assert need.training == 18_000


def test_adapters_a_reference_and_checkpointing_change_what_they_should() -> None:
    def need(*settings: str, trained: int = 1000) -> tuple[int, int, int]:
        config = configuration.load(None, [*SETTINGS, *settings])
        one = memory(config, SHAPE, trained, "float32", on_cpu=True, prompt=10)
        return one.weights, one.training, one.activations

    plain = need()
    assert need("algorithm.kl_weight=0.1") == (8000, *plain[1:])
    assert need("model.lora.rank=4", trained=20) == (4000, 240, plain[2])
    assert need("model.gradient_checkpointing=true")[2] < plain[2]


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
