"""AXPO, Agent eXplorative Policy Optimization (arXiv 2605.28774): it samples failed tool calls again.

Rollout: most of the k trajectories are independent. If all of them that called a tool failed, the others keep the
thinking before the most uncertain calls and sample the call and what follows anew. Advantage: z-score inside the group.
Loss: PPO's clip. Spec 5.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aepo.algorithms.base import Aggregation
from aepo.algorithms.weighted import TreeWeighted
from aepo.core.exploration import Exploration
from aepo.core.resampling import CallResampling


class AXPO(TreeWeighted):
    """Settings of AXPO; see `Algorithm` and `TreeWeighted` for the shared ones.

    Attributes:
        resamples: r, trajectories that wait until the others have ended and been scored; null is a quarter of k, at
            least 1.
    """

    name: Literal["axpo"] = "axpo"
    aggregation: Aggregation = "seq-mean-token-mean"
    resamples: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _resamples_fit(self) -> AXPO:
        self.exploration()
        return self

    def exploration(self) -> Exploration:
        """The rules: k - r independent trajectories, then r that sample a call again."""
        return CallResampling(self.group_size, self.resamples or max(1, self.group_size // 4))
