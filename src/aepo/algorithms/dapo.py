"""DAPO, Decoupled Clip and Dynamic Sampling Policy Optimization (arXiv 2503.14476).

Rollout: k independent trajectories; a group whose rewards are all equal teaches nothing and is replaced by one of
another question. Advantage: the group's z-score of rewards that fall near the limit on length. Loss: PPO's clip, wider
above 1, averaged over tokens. Spec 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aepo.algorithms.base import Algorithm, ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor


class DAPO(Algorithm):
    """Settings of DAPO; see `Algorithm` for the shared ones.

    Attributes:
        clip_high: Width of the clip range above 1.
        overlong_buffer: Share of `rollout.max_tokens` just below the limit in which the reward falls by up to 1; 0
            turns it off. The paper has 4096 of 20480 tokens.
        max_rounds: How often a step may sample, the first time included; then it trains on the groups that it has.
    """

    name: Literal["dapo"] = "dapo"
    clip_high: float = Field(default=0.28, ge=0)
    overlong_buffer: float = Field(default=0.2, ge=0, le=1)
    max_rounds: int = Field(default=10, ge=1)

    def informative(self, rewards: Sequence[float]) -> bool:
        """Whether the rewards differ."""
        return min(rewards) < max(rewards)

    @property
    def rounds(self) -> int:
        """`max_rounds`."""
        return self.max_rounds

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1): the group's z-score of reward and over-long penalty."""
        from aepo.core.advantages import group_relative
        from aepo.core.returns import overlong_penalty

        penalty_B = overlong_penalty(batch.lengths_B, batch.max_length, self.overlong_buffer * batch.max_length)
        return group_relative(batch.rewards_B + penalty_B, batch.groups_B)[:, None]
