"""What a training step needs. Bytes and seconds; every number is an estimate.

Memory: weights (twice with a KL reference, unless adapters are trained), gradients, optimizer and a training pass are
counted (`training_memory`). The rollout, with S sequences in the engine of at most T tokens each, needs:

    cache        S T layers 2 pairs b
    logits       4 S vocabulary, and in drawing from them four more of at most one piece (`aepo.engines.local.head`)

Engine and training take turns, so the need is weights + gradients + optimizer + the larger of (cache + logits) and (a
pass); on a CPU the engine's cache stays, and all are added.

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
from aepo.doctor.training_memory import TrainingMemory
from aepo.doctor.trial import Trial
from aepo.engines.local.head import PIECE_BYTES
from aepo.engines.local.shape import Shape

BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        weights: The weights of the model and of its reference, and the copies that engines on a CPU make of them.
        training: Gradients and optimizer.
        cache: Keys and values of the rollout, and the logits of a call.
        activations: What a training pass takes besides, at its worst moment.
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


def memory(config: Config, shape: Shape, need: TrainingMemory, dtype: str, on_cpu: bool, prompt: int) -> Memory:
    """What a step needs.

    Args:
        config: The run's.
        shape: The model's.
        need: What its training needs, with passes of `pass_tokens`.
        dtype: The type of the weights.
        on_cpu: Whether the model is on the CPU.
        prompt: Tokens of the longest prompt.
    """
    rollout, k = config.rollout, config.algorithm.group_size
    held = min(max(rollout.max_sequences, k if rollout.deterministic else 1), rollout.questions * k)
    reference = config.algorithm.kl_weight > 0 and config.model.lora is None
    # One for sampling, one for greedy sampling, and with overlap one for evaluations.
    engines = 3 if rollout.overlap else 2
    return Memory(
        weights=need.weights * (2 if reference else 1) + (engines * need.copied if on_cpu else 0),
        training=need.held,
        cache=cache_bytes(shape, held * (prompt + rollout.max_tokens), dtype) + logits_bytes(shape, held),
        activations=need.worst,
        together=on_cpu,
    )


def pass_tokens(config: Config, prompt: int) -> int:
    """The most tokens of a forward pass of training: a trajectory goes alone, whatever its length."""
    longest = prompt + config.rollout.max_tokens
    step = math.ceil(config.rollout.questions / config.train.minibatches) * config.algorithm.group_size * longest
    return max(min(config.train.micro_batch_tokens, step), longest)


def weights_bytes(shape: Shape, dtype: str) -> int:
    """What a model needs."""
    return shape.parameters * BYTES[dtype]


def cache_bytes(shape: Shape, tokens: int, dtype: str) -> int:
    """What the keys and values of tokens need."""
    return tokens * shape.layers * 2 * shape.pairs * BYTES[dtype]


def logits_bytes(shape: Shape, rows: int) -> int:
    """What the logits of a call and the draw from them need: shifted, as probabilities, padded, and weighted."""
    logits = 4 * rows * shape.vocabulary
    return logits + 4 * min(logits, PIECE_BYTES)


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
