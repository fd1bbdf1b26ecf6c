"""ARPO, Agentic Reinforced Policy Optimization (arXiv 2507.19849): AEPO's forerunner.

Rollout: a fixed share of k starts from the question, the others branch where entropy rises after a tool result. No
probes, no penalty, no pacing. Advantage: the group's z-score; tokens that trajectories share may get the mean of it.
Loss: PPO's clip, each trajectory weighing the same, as in the paper's objective. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aepo.algorithms.base import Aggregation, ScoredBatch
from aepo.algorithms.weighted import TreeWeighted
from aepo.core.entropy_branching import BalancedBranchSettings, BranchSettings, EntropyBranching
from aepo.core.exploration import Exploration

if TYPE_CHECKING:
    from torch import Tensor


class ARPO(BranchSettings, TreeWeighted):
    """Settings of ARPO; see `Algorithm` and `TreeWeighted`, and `BranchSettings` for those of the rollout.

    They are AEPO's, with the same defaults, so that the two methods differ in nothing else.

    Attributes:
        attribution: A token can be shared by several trajectories. With `soft` it has each trajectory's own advantage;
            with `hard`, the mean of these. The paper's default is soft.
        branch_rule: As in AEPO; the rule `reference` is that of AEPO's public code.
    """

    name: Literal["arpo"] = "arpo"
    aggregation: Aggregation = "seq-mean-token-mean"
    attribution: Literal["soft", "hard"] = "soft"
    branch_rule: Literal["threshold", "bernoulli", "random"] = "threshold"

    def exploration(self) -> Exploration:
        """A fixed m, then branches by entropy."""
        without = {"dynamic_budget": False, "penalty": 0.0, "pacing": "none"}
        return EntropyBranching(self.group_size, BalancedBranchSettings.of(self, without))

    def base_advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1) or (B, T): the group's z-score; with `hard`, its mean over the trajectories that share a token."""
        from aepo.core.credit import shared_mean

        base = super().base_advantages(batch)
        return base if self.attribution == "soft" else shared_mean(base.expand(batch.nodes_BT.shape), batch.nodes_BT)
