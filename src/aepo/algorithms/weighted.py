"""Algorithms with settings for how much tokens and leaves count: by entropy, and by their place in the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aepo.algorithms.base import Algorithm, ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor


class EntropyWeighted(Algorithm):
    """The group's z-score, scaled by token entropy: A_it = A_i max(0, 1 + entropy_weight z_it).

    Attributes:
        entropy_weight: How strongly token entropy counts. Above 0, uncertain tokens have larger advantages, as in
            AEPO's paper; below 0, smaller ones; 0 reads no entropy.
        entropy_scope: Whether a token's entropy is compared with the whole batch or with its group.
        standardize: Whether advantages are divided by the std of the group's rewards; not so in Dr. GRPO (arXiv
            2503.20783), whose expected gradient is that of the reward itself.
    """

    entropy_weight: float = Field(default=0.0, allow_inf_nan=False)
    entropy_scope: Literal["batch", "group"] = "batch"
    standardize: bool = True

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T) or (B, 1): `base_advantages`, scaled by token entropy."""
        from aepo.core.advantages import entropy_aware

        base = self.base_advantages(batch)
        if not self.weighs_entropy:
            return base
        if self.entropy_scope == "batch":
            return entropy_aware(base, batch.entropies_BT, batch.loss_mask_BT, self.entropy_weight)
        scaled_BT = batch.entropies_BT.new_zeros(batch.entropies_BT.shape)
        for group in batch.groups_B.unique():
            rows = batch.groups_B == group
            scaled_BT[rows] = entropy_aware(
                base[rows], batch.entropies_BT[rows], batch.loss_mask_BT[rows], self.entropy_weight
            )
        return scaled_BT

    def base_advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1) or (B, T): the advantages before entropy counts; by default the group's z-score."""
        from aepo.core.tree_credit import tree_relative

        if self.standardize:
            return super().advantages(batch)
        return tree_relative(batch.rewards_B, batch.groups_B, batch.nodes_BT, standardized=False)

    @property
    def weighs_entropy(self) -> bool:
        """Whether the advantage reads entropies."""
        return self.entropy_weight != 0

    @property
    def needs_entropy(self) -> bool:
        """Whether the advantage or the rollout reads entropies."""
        return self.weighs_entropy or super().needs_entropy

    @property
    def needs_every_entropy(self) -> bool:
        """Whether the advantage or the rollout reads the entropies of all tokens."""
        return self.weighs_entropy or super().needs_every_entropy


class TreeWeighted(EntropyWeighted):
    """An algorithm that branches; see `aepo.core.tree_credit.tree_relative`.

    Attributes:
        leaf_weights: How much each trajectory of a group counts: `equal`: all alike; `path`: by the product of
            1 / children over the branch points on its way.
        credit: What a reward is compared with: `group`: the group's mean; `sibling`: the mean below the last branch
            point before the token; `mixed`: half of each.
    """

    leaf_weights: Literal["equal", "path"] = "equal"
    credit: Literal["group", "sibling", "mixed"] = "group"

    def base_advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1) or (B, T): the group's z-score, with leaf weights and baselines of the tree."""
        from aepo.core.tree_credit import tree_relative

        if (self.leaf_weights, self.credit) == ("equal", "group"):
            return super().base_advantages(batch)
        how = (self.leaf_weights, self.credit, self.standardize)
        return tree_relative(batch.rewards_B, batch.groups_B, batch.nodes_BT, *how)
