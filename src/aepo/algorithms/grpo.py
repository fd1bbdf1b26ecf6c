"""GRPO, Group Relative Policy Optimization (DeepSeekMath, arXiv 2402.03300): the usual baseline.

Rollout: k independent trajectories. Advantage: z-score inside the group. Loss: PPO's clip. Spec 5.
"""

from __future__ import annotations

from typing import Literal

from aepo.algorithms.base import Aggregation
from aepo.algorithms.weighted import EntropyWeighted


class GRPO(EntropyWeighted):
    """Settings of GRPO; see `Algorithm` for the shared ones, `EntropyWeighted` for the weight of entropy."""

    name: Literal["grpo"] = "grpo"
    aggregation: Aggregation = "seq-mean-token-mean"
