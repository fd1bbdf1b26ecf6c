"""The parts of a measurement, and the memory that `aepo doctor` counts for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch

from aepo.bench.training import shared_for
from aepo.config import Config
from aepo.doctor import estimate
from aepo.doctor.training_memory import training_memory
from aepo.engines.local.shape import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PartKind = Literal["sampling", "generate", "agreement", "push", "flat", "tree"]
SHARING, GROUPS, TRAJECTORIES = 4.0, 2, 8
"""How often a flat step reads each token, questions of a step, and trajectories of each."""
ALONE = 4
"""The length of a trajectory's own part, in lengths of a sampled turn."""
FEW = 16
"""The number of rows with which sampler and trainer are compared."""
SHARES: dict[PartKind, float] = {
    "sampling": 1.0,
    "generate": 1.0,
    "agreement": 1.0,
    "push": 0.5,
    "flat": 3.0,
    "tree": 3.0,
}
"""Shares of the time, relative to each other."""
PROCESSES: dict[PartKind, str] = {"sampling": "engine", "agreement": "engine", "push": "engine"}
"""On a CPU each other kind has its own process, so that no part holds the memory of another."""


@dataclass(frozen=True)
class BenchPart:
    """One part of a measurement.

    Attributes:
        kind: The kind of work.
        rows: The number of sequences at once.
        prompt: The number of tokens that each sequence is given; in training, that a question's trajectories share.
        tokens: The number of tokens that each sequence samples; in training, that each trajectory has alone.
    """

    kind: PartKind
    rows: int
    prompt: int
    tokens: int

    @property
    def name(self) -> str:
        """The name in tables and files; each part of a measurement has another one."""
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        return {
            "sampling": f"sampling, {rows}",
            "generate": f"generate, {rows}",
            "agreement": "sampler and trainer",
            "push": "weight push",
            "flat": "training, flat",
            "tree": "training, tree",
        }[self.kind]

    @property
    def trains(self) -> bool:
        """Whether the part is an optimizer step."""
        return self.kind in ("flat", "tree")

    def with_tokens(self, tokens: int) -> BenchPart:
        """The same part, shorter or longer."""
        return replace(self, tokens=tokens, prompt=shared(tokens) if self.trains else self.prompt)


@dataclass(frozen=True)
class Measured:
    """The result of a part.

    Attributes:
        part: The part as it was measured, which may be shorter than planned.
        state: "left out" for lack of time, or of memory that it was known to need; "failed" for any other reason.
        figures: The figures by name, in seconds, tokens or nats.
        peak: The largest number of bytes held at once; None if the system does not tell.
        estimate: The number of bytes that `aepo doctor` counts.
        note: The reason why it is shorter or missing; else "".
    """

    part: BenchPart
    state: Literal["measured", "left out", "out of memory", "failed"] = "measured"
    figures: Mapping[str, float] = field(default_factory=dict)
    peak: int | None = None
    estimate: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Described:
    """The model and the machine, as seen by the process that loaded the model.

    Attributes:
        name: The name of the model.
        shape: The shape of the model.
        trained: The number of trained parameters.
        dtype: The type of the weights.
        device: The name of the device.
        on_cpu: Whether the device is a CPU.
        free: The bytes of the device's memory that were free before the model was loaded.
        threads: The number of CPU threads.
        packages: The versions of packages.
        model: The configuration of the model; None if no estimate of its training is wanted.
    """

    name: str
    shape: Shape
    trained: int
    dtype: str
    device: str
    on_cpu: bool
    free: int
    threads: int
    packages: str
    model: PreTrainedConfig | None = None


def planned(rows: Sequence[int], prompt: int, tokens: int, positions: int | None) -> list[BenchPart]:
    """All parts, in the order in which they are measured.

    Args:
        rows: The numbers of rows to sample with.
        prompt: The number of tokens of a prompt.
        tokens: The number of tokens that each row samples.
        positions: The number of tokens that the model was built for; None if it does not say.
    """
    alone = ALONE * tokens
    while positions is not None and alone > 1 and shared(alone) + alone > positions:
        alone -= 1
    ordered = sorted(set(rows))
    few = max((count for count in ordered if count <= FEW), default=ordered[0])
    training = [BenchPart(kind, GROUPS * TRAJECTORIES, shared(alone), alone) for kind in ("flat", "tree")]
    return [
        *(BenchPart("sampling", count, prompt, tokens) for count in ordered),
        BenchPart("agreement", max(few, 2), prompt, tokens),
        BenchPart("push", few, prompt, tokens),
        *(BenchPart("generate", count, prompt, tokens) for count in ordered),
        *training,
    ]


def shared(alone: int) -> int:
    """The number of tokens that a question's trajectories share."""
    return shared_for(SHARING, alone, TRAJECTORIES)


def estimated(part: BenchPart, about: Described, config: Config) -> int | None:
    """The bytes that a part needs, as `aepo doctor` counts them; None if it does not count this part."""
    shape, dtype = about.shape, about.dtype
    weights = estimate.weights_bytes(shape, dtype)
    if part.kind == "sampling":
        cache = estimate.cache_bytes(shape, part.rows * (part.prompt + part.tokens), dtype)
        return weights + cache + estimate.logits_bytes(shape, part.rows)
    if not part.trains or about.model is None:
        return None
    read = part.rows * (part.prompt + part.tokens)
    distinct = GROUPS * part.prompt + part.rows * part.tokens
    tokens = min(config.train.micro_batch_tokens, read if part.kind == "flat" else distinct)
    eight_bit = config.train.optimizer == "adamw_8bit"
    need = training_memory(about.model, config.model, getattr(torch, dtype), tokens, eight_bit)
    return need.weights + need.held + need.worst
