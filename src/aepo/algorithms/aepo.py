"""AEPO, Agentic Entropy-Balanced Policy Optimization (arXiv 2510.14545); spec 3 and 4.

Rollout: probes set how many trajectories start from the question; the others branch where entropy rises after a tool
result, less and less on a path that branched again and again. Loss: a clip that keeps the gradient of good tokens.
Advantage: the group's z-score, larger where the policy was uncertain.

Each of the four parts switches off alone: `dynamic_budget`, `branch_penalty`, `entropy_clip`, `entropy_advantage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from aepo.algorithms.base import Algorithm, ScoredBatch
from aepo.core.entropy_branching import BalancedBranchSettings, EntropyBranching
from aepo.core.exploration import Exploration

if TYPE_CHECKING:
    from torch import Tensor

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"tau": 0.5, "entropy_scale": "log_vocab", "pacing": "none", "min_global": 0.0},
    "reference": {
        "branch_rule": "reference",
        "beta": 0.5,
        "tau": 0.5,
        "entropy_scale": "reference",
        "pacing": "none",
        "min_global": 0.0,
    },
}


class AEPO(BalancedBranchSettings, Algorithm):
    """Settings of AEPO; see `Algorithm` for the shared ones, `BalancedBranchSettings` for those of the rollout.

    Attributes:
        preset: Source of unset values: our defaults, the paper's rule, or the public reference code's.
        branch_penalty: Let consecutive branches lower the branch probability.
        entropy_clip: Keep the gradient of good tokens above the clip range; off: PPO's clip.
        entropy_advantage: Weigh advantages by token entropy.
        entropy_weight: How strongly token entropy counts.
        entropy_scope: Whether a token's entropy is compared with the whole batch or with its group.
    """

    name: Literal["aepo"] = "aepo"
    preset: Literal["default", "paper", "reference"] = "default"
    branch_penalty: bool = True
    entropy_clip: bool = True
    entropy_advantage: bool = True
    entropy_weight: float = Field(default=0.2, ge=0)
    entropy_scope: Literal["batch", "group"] = "batch"

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

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T): the group's z-score, scaled by token entropy (spec 4.2)."""
        from aepo.core.advantages import entropy_aware

        base_B1 = super().advantages(batch)
        if not self.entropy_advantage:
            return base_B1
        if self.entropy_scope == "batch":
            return entropy_aware(base_B1, batch.entropies_BT, batch.loss_mask_BT, self.entropy_weight)
        scaled_BT = batch.entropies_BT.new_zeros(batch.entropies_BT.shape)
        for group in batch.groups_B.unique():
            rows = batch.groups_B == group
            scaled_BT[rows] = entropy_aware(
                base_B1[rows], batch.entropies_BT[rows], batch.loss_mask_BT[rows], self.entropy_weight
            )
        return scaled_BT

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """The gradient-keeping clip (spec 4.1), or PPO's without `entropy_clip`."""
        from aepo.core.losses import entropy_balanced

        if not self.entropy_clip:
            return super().loss(logprobs_BT, old_logprobs_BT, advantages_BT)
        return entropy_balanced(
            logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_low, self.clip_high, self.dual_clip
        )

    @property
    def needs_entropy(self) -> bool:
        """Whether the advantage or the rollout reads entropies."""
        return self.entropy_advantage or super().needs_entropy

    @property
    def needs_every_entropy(self) -> bool:
        """Whether the advantage or the rollout reads the entropies of all tokens."""
        return self.entropy_advantage or super().needs_every_entropy
