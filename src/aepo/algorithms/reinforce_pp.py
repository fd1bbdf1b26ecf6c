"""REINFORCE++ (arXiv 2501.03262): no critic and no groups; returns are compared over the whole batch.

Rollout: k independent trajectories. Advantage: the return, with gamma 1 the reward, whitened over all trained tokens of
the step. Loss: PPO's clip. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aepo.algorithms.base import Algorithm, ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor


class ReinforcePP(Algorithm):
    """Settings of REINFORCE++; see `Algorithm` for the shared ones."""

    name: Literal["reinforce_pp"] = "reinforce_pp"

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T): the whitened returns."""
        from aepo.core.advantages import whitened

        return whitened(batch.rewards_B[:, None], batch.loss_mask_BT)
