"""AXPO, Agent eXplorative Policy Optimization (arXiv 2605.28774): it samples failed tool calls again.

Rollout: most of the k trajectories are independent. If all of them that called a tool failed, the others keep the
thinking before the most uncertain calls and sample the call and what follows anew. Advantage: z-score inside the group;
with `preset: paper`, thinking and calls are judged apart. Loss: PPO's clip. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from aepo.algorithms.base import Aggregation, ScoredBatch
from aepo.algorithms.weighted import TreeWeighted
from aepo.core.exploration import Exploration
from aepo.core.resampling import CallResampling

if TYPE_CHECKING:
    from torch import Tensor

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "group_size": 12,
        "resamples": 4,
        "candidates": "first",
        "rank": "probability",
        "continuations": 4,
        "inside_call": True,
        "separated": True,
        "clip_high": 0.4,
        "kl_weight": 1e-3,
    },
}


class AXPO(TreeWeighted):
    """Settings of AXPO; see `Algorithm` and `TreeWeighted` for the shared ones.

    Attributes:
        preset: Source of unset values: our defaults, or the paper's, with its extra trajectories inside k.
        resamples: r, trajectories that wait until the others have ended and been scored; null is a quarter of k, at
            least 1.
        candidates: Which calls of a path are sampled again: "all", or its "first".
        rank: The most uncertain calls come first, by mean "entropy" of their tokens or by mean "probability".
        continuations: How often a call is taken before the next one.
        inside_call: Keep the opening of the call, too, so that a call follows in any case.
        separated: Judge thinking and calls apart (`aepo.core.recovery.separated`); without it one z-score over all k.
    """

    name: Literal["axpo"] = "axpo"
    preset: Literal["default", "paper"] = "default"
    aggregation: Aggregation = "seq-mean-token-mean"
    resamples: int | None = Field(default=None, ge=1)
    candidates: Literal["all", "first"] = "all"
    rank: Literal["entropy", "probability"] = "entropy"
    continuations: int = Field(default=1, ge=1)
    inside_call: bool = False
    separated: bool = False

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("preset") in PRESETS:
            return {**PRESETS[data["preset"]], **data}
        return data

    @model_validator(mode="after")
    def _settings_fit(self) -> AXPO:
        self.exploration()
        if self.separated and (self.leaf_weights, self.credit, self.standardize) != ("equal", "group", True):
            raise ValueError("separated has baselines of its own: leave leaf_weights, credit and standardize out")
        return self

    def exploration(self) -> Exploration:
        """The rules: k - r independent trajectories, then r that sample a call again."""
        resamples = self.resamples or max(1, self.group_size // 4)
        how = (self.candidates, self.rank, self.continuations, self.inside_call)
        return CallResampling(self.group_size, resamples, *how)

    def base_advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1) or (B, T): the group's z-score; with `separated`, thinking and calls apart.

        A masked token has advantage 0. The mean over a trajectory's tokens is made one over those that are left.
        """
        from aepo.core.recovery import separated

        if not self.separated:
            return super().base_advantages(batch)
        advantages_BT, mask_BT = separated(batch.rewards_B, batch.groups_B, batch.nodes_BT, batch.loss_mask_BT)
        if self.aggregation != "seq-mean-token-mean":
            return advantages_BT
        trained_B, left_B = (batch.loss_mask_BT != 0).sum(-1), mask_BT.sum(-1)
        return advantages_BT * (trained_B / left_B.clamp(min=1))[:, None]
