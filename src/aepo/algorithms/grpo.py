"""GRPO, Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300): the baseline everybody knows.

Rollout: k independent trajectories. Advantage: z-score inside the group. Loss: PPO's clip. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aepo.algorithms.base import Aggregation, Algorithm, ScoredBatch
from aepo.core.exploration import Exploration, IndependentSamples

if TYPE_CHECKING:
    from torch import Tensor


class GRPO(Algorithm):
    """Settings of GRPO; see `Algorithm` for the shared ones."""

    name: Literal["grpo"] = "grpo"
    aggregation: Aggregation = "seq-mean-token-mean"

    def exploration(self) -> Exploration:
        """K independent trajectories."""
        return IndependentSamples(self.group_size)

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1): the group's z-score."""
        from aepo.core.advantages import group_relative

        return group_relative(batch.rewards_B, batch.groups_B)[:, None]

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """PPO's clipped loss."""
        from aepo.core.losses import clipped

        return clipped(logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_low, self.clip_high, self.dual_clip)
