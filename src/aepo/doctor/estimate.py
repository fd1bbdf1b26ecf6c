"""What a training step needs, by formulas. Bytes and seconds; every number is an estimate.

Memory, with P parameters of b bytes of which P_t are trained, S sequences in the engine of at most T tokens each, and
M tokens in one forward pass of training:

    weights      P b             (again P b for a KL reference, unless adapters are trained)
    gradients    P_t b
    optimizer    8 P_t           (AdamW's moments; 16 P_t in half precision: float32 masters and their gradients)
    cache        S T layers 2 pairs b
    activations  M layers (8 hidden + 2 heads + 3 pairs + 4 inner) b, or M layers hidden b + those of one layer
                 with gradient checkpointing
    scores       3 M vocabulary 4, at most 3 pieces of the output layer (`aepo.engines.local.head`), + M hidden (b + 8)

Engine and training take turns, so the need is weights + gradients + optimizer + the larger of (cache) and (activations
+ scores); on a CPU the engine's cache stays, and all are added.

Time, with a measured decode call of `fixed` seconds + `row` seconds a sequence, and `train` seconds a token of a
forward and backward pass:

    rollout = fillings longest fixed + written row + read train / 3
    update  = epochs distinct train

Fillings: how often the engine is filled with sequences; a forward pass is a third of both. Where a few questions were
really asked, which took t seconds with tools and all, and a step has s times as many, it is

    rollout = s t - (s - 1) longest fixed

since more questions at once make calls larger, and not more of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aepo.config import Config
from aepo.doctor.trial import Trial
from aepo.engines.local.head import PIECE_BYTES
from aepo.engines.local.shape import Shape

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        weights: Of the model and of its reference.
        training: Gradients and optimizer.
        cache: Keys and values of the rollout.
        activations: Of one forward pass of training, scores included.
        together: Whether cache and activations are there at the same time.
    """

    weights: int
    training: int
    cache: int
    activations: int
    together: bool

    @property
    def total(self) -> int:
        """At the worst moment."""
        turns = (self.cache, self.activations)
        return self.weights + self.training + (sum(turns) if self.together else max(turns))


@dataclass(frozen=True)
class Lengths:
    """Tokens of a step.

    Attributes:
        written: Tokens that the policy samples.
        longest: Tokens that it samples in the longest trajectory.
        read: Prompt and result tokens, shared ones once.
        distinct: Tokens that training reads.
        trial: Where they come from; None for the configuration's limits: then they are the most there can be.
    """

    written: int
    longest: int
    read: int
    distinct: int
    trial: Trial | None = None


@dataclass(frozen=True)
class Speed:
    """Measured on this machine.

    Attributes:
        fixed: Seconds of a decode call.
        row: Seconds that each sequence adds to it.
        train: Seconds a token of a forward and backward pass.
    """

    fixed: float
    row: float
    train: float


def memory(config: Config, shape: Shape, trained: int, dtype: str, on_cpu: bool, prompt: int) -> Memory:
    """What a step needs.

    Args:
        config: The run's.
        shape: The model's.
        trained: Parameters that are trained.
        dtype: Of the weights.
        on_cpu: Whether the model is on the CPU.
        prompt: Tokens of the longest prompt.
    """
    width = BYTES[dtype]
    rollout, train = config.rollout, config.train
    least = config.algorithm.group_size if rollout.deterministic else 1
    held = min(max(rollout.max_sequences, least), rollout.questions * config.algorithm.group_size)
    reference = config.algorithm.kl_weight > 0 and config.model.lora is None
    return Memory(
        weights=weights_bytes(shape, dtype) * (2 if reference else 1),
        training=trained * (width + (8 if width == 4 else 16)),
        cache=cache_bytes(shape, held * (prompt + rollout.max_tokens), dtype),
        activations=pass_bytes(shape, train.micro_batch_tokens, dtype, config.model.gradient_checkpointing),
        together=on_cpu,
    )


def weights_bytes(shape: Shape, dtype: str) -> int:
    """Of a model."""
    return shape.parameters * BYTES[dtype]


def cache_bytes(shape: Shape, tokens: int, dtype: str) -> int:
    """Of the keys and values of tokens."""
    return tokens * shape.layers * 2 * shape.pairs * BYTES[dtype]


def pass_bytes(shape: Shape, tokens: int, dtype: str, checkpointed: bool) -> int:
    """Of a forward pass that is kept for the backward pass, at its worst moment."""
    width = BYTES[dtype]
    layer = (8 * shape.hidden + 2 * shape.heads + 3 * shape.pairs + 4 * shape.inner) * width
    kept = shape.layers * shape.hidden * width + layer if checkpointed else shape.layers * layer
    scores = 3 * min(4 * tokens * shape.vocabulary, PIECE_BYTES)
    return tokens * (kept + shape.hidden * (width + 8)) + scores


def limits(config: Config, prompt: int) -> Lengths:
    """The most tokens that a step can have.

    Args:
        config: The run's.
        prompt: Tokens of a prompt.
    """
    rollout, k = config.rollout, config.algorithm.group_size
    trajectories = rollout.questions * k * config.algorithm.rounds
    written = trajectories * rollout.max_tokens
    prompts = rollout.questions * config.algorithm.rounds * prompt
    return Lengths(written, rollout.max_tokens, prompts, written + prompts)


def seconds(config: Config, lengths: Lengths, speed: Speed) -> tuple[float, float]:
    """Seconds of a step's rollout and of its update; without a trial tools take no time."""
    update = config.train.epochs * lengths.distinct * speed.train
    if lengths.trial is not None:
        scale = lengths.trial.scale * config.algorithm.rounds
        rollout = scale * lengths.trial.seconds - max(0.0, scale - 1) * lengths.longest * speed.fixed
        return max(rollout, 0.0), update
    k, questions = config.algorithm.group_size, config.rollout.questions
    fillings = math.ceil(questions * k / config.rollout.max_sequences) * config.algorithm.rounds
    sampling = fillings * lengths.longest * speed.fixed + lengths.written * speed.row
    reading = lengths.read * speed.train / 3
    return sampling + reading, update
