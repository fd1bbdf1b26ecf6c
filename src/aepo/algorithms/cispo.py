"""CISPO, Clipped Importance-Sampling-weight Policy Optimization (MiniMax-M1, arXiv 2506.13585).

Rollout: k independent trajectories. Advantage: z-score inside the group. Loss: REINFORCE whose importance weights are
clipped above, so that every token keeps a gradient; averaged over tokens, as in the paper. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aepo.algorithms.base import Algorithm

if TYPE_CHECKING:
    from torch import Tensor


class CISPO(Algorithm):
    """Settings of CISPO; see `Algorithm` for the shared ones.

    Attributes:
        clip_low: Width of the range below 1 that weights are clipped to; 1 sets no lower bound.
        clip_high: Width of the range above 1.
        dual_clip: Not needed: the weights of tokens with A < 0 are clipped too.
    """

    name: Literal["cispo"] = "cispo"
    clip_low: float = Field(default=1.0, ge=0, le=1)
    clip_high: float = Field(default=0.28, ge=0)
    dual_clip: None = None

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """REINFORCE with clipped importance weights."""
        from aepo.core.losses import cispo

        return cispo(logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_high, self.clip_low)
