"""Computes figures of optimizer steps: the figures of passes add up to a step's, and those of steps are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from aepo.training.objective import Objective, Pass
from aepo.training.tree import Reading


@dataclass(frozen=True)
class StepFigures:
    """Figures of one optimizer step, or a part of it; parts add up with `+`.

    Attributes:
        loss: The step's loss.
        clipped_low: The share of its trained tokens with A < 0 and a ratio below the clip range.
        clipped_high: The share of its trained tokens with A > 0 and a ratio above the clip range.
        rollout_kl: The mean of old_logp - logp over the computed tokens, in nats.
        reference_kl: The mean k3 estimate of KL(policy || reference), in nats; None without a reference.
        difference: The mean of |logp - old_logp|, in nats.
        largest_difference: The largest |logp - old_logp|, in nats.
        outside: The share of the computed tokens whose ratio is outside of 0.8 to 1.2.
        rollout_k3: The mean k3 estimate of KL(sampler || policy), in nats.
    """

    loss: float = 0.0
    clipped_low: float = 0.0
    clipped_high: float = 0.0
    rollout_kl: float = 0.0
    reference_kl: float | None = None
    difference: float = 0.0
    largest_difference: float = 0.0
    outside: float = 0.0
    rollout_k3: float = 0.0

    @classmethod
    def of(cls, found: Pass, objective: Objective, computed: float) -> StepFigures:
        """The part that a pass adds to its step.

        Args:
            found: The results of the pass.
            objective: The step's objective.
            computed: The number of trained tokens of the step that are computed.
        """
        return cls(
            loss=float(found.loss.detach()),
            clipped_low=found.low / objective.tokens,
            clipped_high=found.high / objective.tokens,
            rollout_kl=-found.difference / computed,
            reference_kl=None if objective.reference is None else found.reference_kl / computed,
            difference=found.absolute_difference / computed,
            largest_difference=found.largest_difference,
            outside=found.outside / computed,
            rollout_k3=found.rollout_k3 / computed,
        )

    def __add__(self, other: StepFigures) -> StepFigures:
        """The sum of both parts; of the largest difference the larger one."""
        kls = [kl for kl in (self.reference_kl, other.reference_kl) if kl is not None]
        summed = {name: value + getattr(other, name) for name, value in vars(self).items() if name != "reference_kl"}
        largest = max(self.largest_difference, other.largest_difference)
        return StepFigures(**{**summed, "reference_kl": fsum(kls) if kls else None, "largest_difference": largest})

    def differences(self) -> dict[str, float]:
        """Differences of the rollout's log-probabilities from those computed here; for a rollout's first step only.

        `logprobs/rollout_difference_mean` and `_max` are the mean and the largest |logp - old_logp|.
        `logprobs/rollout_outside_share` is the share of tokens whose ratio is outside of 0.8 to 1.2.
        `logprobs/rollout_k3` is KL(sampler || policy) in nats.
        """
        return {
            "logprobs/rollout_difference_mean": self.difference,
            "logprobs/rollout_difference_max": self.largest_difference,
            "logprobs/rollout_outside_share": self.outside,
            "logprobs/rollout_k3": self.rollout_k3,
        }

    def metrics(self) -> dict[str, float]:
        """All other figures, by name."""
        found = {"loss": self.loss, "clip/low_fraction": self.clipped_low, "clip/high_fraction": self.clipped_high}
        kl = {} if self.reference_kl is None else {"kl/reference": self.reference_kl}
        return {**found, "kl/rollout": self.rollout_kl, **kl}


def mean(values: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over all mappings; a mapping without the metric counts as 0."""
    names = dict.fromkeys(name for value in values for name in value)
    return {name: fsum(value.get(name, 0.0) for value in values) / len(values) for name in names}


def reading_metrics(readings: Sequence[Reading], tree: bool) -> dict[str, float]:
    """The mean of each metric; on the tree also `train/sharing`, how often whole trajectories would read each token."""
    found = mean([{"train/idle_share": reading.idle_share} for reading in readings])
    if not tree:
        return found
    distinct = fsum(reading.distinct_tokens for reading in readings)
    flat = fsum(reading.flat_tokens for reading in readings)
    return {
        **found,
        "train/distinct_tokens": distinct / len(readings),
        "train/repeated_tokens": fsum(reading.repeated_tokens for reading in readings) / len(readings),
        "train/sharing": flat / distinct if flat else 1.0,
    }
