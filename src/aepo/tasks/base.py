"""A task: questions, the tools to answer them with, and what an answer is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aepo.types import Sample, Trajectory

Reward = Callable[[Sample, Trajectory], float]


@dataclass(frozen=True)
class Task:
    """What a policy is trained on or measured with.

    Attributes:
        name: Shown in reports.
        samples: The questions to train on; those without an id are numbered.
        tools: `aepo.tool` functions.
        reward: Called with (sample, trajectory), gives a finite number.
        held_out: Questions that no training step sees, for evaluation; empty means that none were set aside.
        system: System message; None lets the protocol explain itself and the tools, "" sends none.

    Raises:
        ValueError: There are no samples, or two share an id.
    """

    name: str
    samples: Sequence[Sample]
    tools: Sequence[Any] = ()
    reward: Reward | None = None
    held_out: Sequence[Sample] = field(default=())
    system: str | None = None

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"task {self.name!r} has no samples")
        object.__setattr__(self, "samples", numbered(self.samples, f"{self.name}-"))
        object.__setattr__(self, "held_out", numbered(self.held_out, f"{self.name}-held-out-"))


def numbered(samples: Sequence[Sample], prefix: str) -> tuple[Sample, ...]:
    """The samples, each with an id.

    Raises:
        ValueError: Two samples share an id.
    """
    named = tuple(s if s.id else replace(s, id=f"{prefix}{i}") for i, s in enumerate(samples))
    seen: set[str] = set()
    for sample in named:
        if sample.id in seen:
            raise ValueError(f"two samples have the id {sample.id!r}; give each its own, or none")
        seen.add(sample.id)
    return named
