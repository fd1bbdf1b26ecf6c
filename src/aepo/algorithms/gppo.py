"""GPPO, Gradient-Preserving clipping Policy Optimization (Klear-Reasoner, arXiv 2508.07629).

Rollout: k independent trajectories. Advantage: z-score inside the group. Loss: a clip that keeps a bounded gradient on
both sides; the two weights are those of CE-GPPO (arXiv 2509.20712). Averaged over tokens, as in both papers. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aepo.algorithms.base import Algorithm

if TYPE_CHECKING:
    from torch import Tensor


class GPPO(Algorithm):
    """Settings of GPPO; see `Algorithm` for the shared ones.

    Attributes:
        beta1: Weight of bad tokens below the clip range; 0 is PPO's clip there.
        beta2: Weight of good tokens above it; 0 is PPO's clip there.
    """

    name: Literal["gppo"] = "gppo"
    beta1: float = Field(default=1.0, ge=0)
    beta2: float = Field(default=1.0, ge=0)

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """The clip that keeps gradients on both sides."""
        from aepo.core.losses import gradient_preserving

        return gradient_preserving(
            logprobs_BT,
            old_logprobs_BT,
            advantages_BT,
            self.clip_low,
            self.clip_high,
            self.beta1,
            self.beta2,
            self.dual_clip,
        )
