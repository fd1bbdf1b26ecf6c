"""AEPO, Agentic Entropy-Balanced Policy Optimization (arXiv 2510.14545, docs/aepo.md).

Rollout: probes set how many trajectories start from the question; the others branch where entropy rises after a tool
result, less and less on a path that stays uncertain. Loss: a clip that keeps the gradient of good tokens.
Advantage: the group's z-score, larger where the policy was uncertain.

Each of the four parts switches off alone: `dynamic_budget`, `branch_penalty`, `entropy_clip`, `entropy_advantage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from aepo.algorithms.weighted import TreeWeighted
from aepo.core.entropy_branching import BalancedBranchSettings, EntropyBranching
from aepo.core.exploration import Exploration

if TYPE_CHECKING:
    from torch import Tensor

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"tau": 0.5, "entropy_scale": "log_vocab", "pacing": "none", "min_global": 0.0},
    "reference": {
        "branch_rule": "reference",
        "streak": "branches",
        "beta": 0.5,
        "tau": 0.5,
        "entropy_scale": "reference",
        "pacing": "none",
        "min_global": 0.0,
    },
}


class AEPO(BalancedBranchSettings, TreeWeighted):
    """Settings of AEPO. `aepo settings algorithm` lists all; `aepo settings tau` explains one.

    Some stand in `Algorithm` and `TreeWeighted`, and those of the rollout in `BalancedBranchSettings`.

    Attributes:
        preset: Source of unset values: our defaults, the paper's rule, or the public reference code's.
        branch_penalty: Let consecutive uncertain observations lower the branch probability.
        entropy_clip: Keep the gradient of good tokens above the clip range; off: PPO's clip.
        entropy_advantage: Weigh advantages by token entropy.
        entropy_weight: How strongly token entropy counts in the advantage. Above 0, uncertain tokens count more, as in
            AEPO's paper (0.2 is the public code's); below 0, less; 0 reads no entropy.
    """

    name: Literal["aepo"] = "aepo"
    preset: Literal["default", "paper", "reference"] = "default"
    branch_penalty: bool = True
    entropy_clip: bool = True
    entropy_advantage: bool = True
    entropy_weight: float = Field(default=0.2, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("preset") in PRESETS:
            return {**PRESETS[data["preset"]], **data}
        return data

    @model_validator(mode="after")
    def _probes_fit(self) -> AEPO:
        self.exploration()
        return self

    def exploration(self) -> Exploration:
        """Probes, then branches by entropy."""
        penalty = self.penalty if self.branch_penalty else 0.0
        return EntropyBranching(self.group_size, BalancedBranchSettings.of(self, {"penalty": penalty}))

    @property
    def weighs_entropy(self) -> bool:
        """Whether the advantage reads entropies."""
        return self.entropy_advantage and super().weighs_entropy

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """The gradient-keeping clip, or PPO's without `entropy_clip`."""
        from aepo.core.losses import entropy_balanced

        if not self.entropy_clip:
            return super().loss(logprobs_BT, old_logprobs_BT, advantages_BT)
        return entropy_balanced(
            logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_low, self.clip_high, self.dual_clip
        )
