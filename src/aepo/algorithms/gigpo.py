"""GiGPO, Group-in-Group Policy Optimization (arXiv 2505.10978): it compares trajectories and turns.

Rollout: k independent trajectories. Advantage: the group's z-score plus, for each turn, the z-score of its discounted
return among the turns of the group that started from the same observation. Loss: PPO's clip, averaged over tokens, the
default of its public code. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aepo.algorithms.base import Algorithm, ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor


class GiGPO(Algorithm):
    """Settings of GiGPO; see `Algorithm` for the shared ones.

    Attributes:
        step_weight: Weight of the turns' advantage; 0 leaves the group's z-score alone.
        gamma: Discount of the reward per turn.
    """

    name: Literal["gigpo"] = "gigpo"
    step_weight: float = Field(default=1.0, ge=0)
    gamma: float = Field(default=0.95, ge=0, le=1)

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T): the trajectory's advantage plus the turn's."""
        from aepo.core.credit import step_relative

        steps_BT = step_relative(batch.rewards_B, batch.turns_BT, batch.states_BT, self.gamma)
        return super().advantages(batch) + self.step_weight * steps_BT
