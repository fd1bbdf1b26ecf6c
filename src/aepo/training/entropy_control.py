"""Holds the policy's entropy up by a bonus whose weight follows it (`train.entropy_control`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aepo.config import EntropyControlConfig
from aepo.core.control import band_step, skywork_step
from aepo.training.batch import Batch


@dataclass(frozen=True)
class EntropyControl:
    """The controller after some steps.

    Attributes:
        settings: The rule.
        weight: The weight that it holds, in units of the advantage per nat.
        acting: The weight of the bonus in the next update.
        first: The first step's entropy, in nats; None before it.
    """

    settings: EntropyControlConfig
    weight: float
    acting: float = 0.0
    first: float | None = None

    @classmethod
    def of(cls, settings: EntropyControlConfig) -> EntropyControl | None:
        """The controller before the first step; None without one."""
        return None if settings.rule == "none" else cls(settings, settings.start, settings.start)

    def after(self, entropy: float) -> EntropyControl:
        """The controller that has seen one more rollout's policy entropy, in nats."""
        of, first = self.settings, entropy if self.first is None else self.first
        unit = first if of.unit == "start" else 1.0
        if of.rule == "skywork":
            weight, acting = skywork_step(self.weight, entropy, of.low * unit, of.delta, 0.0, of.alpha_max)
            return replace(self, weight=weight, acting=acting, first=first)
        ends = (of.low * unit, of.high * unit)
        weight = math.exp(band_step(math.log(self.weight), entropy, *ends, of.eta, of.alpha_min, of.alpha_max))
        return replace(self, weight=weight, acting=weight, first=first)

    def metrics(self) -> dict[str, float]:
        """The weight of the bonus."""
        return {"entropy_control/weight": self.acting}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint, without the settings."""
        return {"weight": self.weight, "acting": self.acting, "first": self.first}

    def restored(self, data: Mapping[str, Any]) -> EntropyControl:
        """Read the result of `to_dict`."""
        return replace(self, **data)


def with_bonus(batch: Batch, weight: float) -> Batch:
    """The batch with an entropy bonus in its advantages: A_t + weight (-ln p_t - H_t) on trained tokens.

    Its expected gradient, at the policy that sampled, is that of weight mean H_t: H_t is the mean of -ln p_t, so it is
    a baseline and takes off noise only. It needs the sampled token alone, not the whole distribution in the backward
    pass, works on trees and on whole trajectories, and goes through the algorithm's clip.

    Args:
        batch: All trajectories of the step, with the sampler's log-probabilities and entropies.
        weight: Weight of the bonus, at least 0.
    """
    bonus_BT = weight * (-batch.old_logprobs_BT - batch.entropies_BT) * (batch.loss_mask_BT != 0)
    return replace(batch, advantages_BT=batch.advantages_BT + bonus_BT)
