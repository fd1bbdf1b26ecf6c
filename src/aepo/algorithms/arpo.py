"""ARPO, Agentic Reinforced Policy Optimization (arXiv 2507.19849): AEPO's forerunner.

Rollout: a fixed share of k starts from the question, the others branch where entropy rises after a tool result. No
probes, no penalty, no pacing. Advantage: the group's z-score; tokens that trajectories share may get the mean of it.
Loss: PPO's clip, each trajectory weighing the same, as in the paper's objective. Spec 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from aepo.algorithms.base import Aggregation, Algorithm, ScoredBatch
from aepo.core.entropy_branching import EntropyBranching
from aepo.core.exploration import Exploration

if TYPE_CHECKING:
    from torch import Tensor


class ARPO(Algorithm):
    """Settings of ARPO; see `Algorithm` for the shared ones, `EntropyBranching` for those of the rollout.

    `alpha`, `gamma`, `tau`, the scale and the window are AEPO's defaults, so that a comparison of the two is one of
    their ideas.

    Attributes:
        attribution: `soft`: a token counts in every trajectory that contains it, with that one's advantage; `hard`:
            with the mean advantage of all of them. The paper's default is soft.
        initial_fraction: m / k.
        branch_time: `online`, the paper's, or `retrospective`; see `AEPO`.
        depth_bonus: What late observations gain over early ones; in retrospect only.
    """

    name: Literal["arpo"] = "arpo"
    aggregation: Aggregation = "seq-mean-token-mean"
    attribution: Literal["soft", "hard"] = "soft"
    beam_size: int = Field(default=2, ge=2)
    initial_fraction: float = Field(default=0.5, gt=0, le=1)
    alpha: float = 0.5
    gamma: float = 0.2
    tau: float = 0.5
    branch_rule: Literal["threshold", "bernoulli", "random"] = "threshold"
    entropy_scale: Literal["running", "nats", "log_vocab", "centered", "reference"] = "running"
    entropy_window: int = Field(default=20, ge=1)
    branch_time: Literal["online", "retrospective"] = "online"
    depth_bonus: float = Field(default=0.3, ge=0)

    def exploration(self) -> Exploration:
        """A fixed m, then branches by entropy."""
        return EntropyBranching(
            group_size=self.group_size,
            beam_size=self.beam_size,
            dynamic_budget=False,
            initial_fraction=self.initial_fraction,
            alpha=self.alpha,
            gamma=self.gamma,
            tau=self.tau,
            penalty=0.0,
            branch_rule=self.branch_rule,
            pacing="none",
            entropy_scale=self.entropy_scale,
            entropy_window=self.entropy_window,
            branch_time=self.branch_time,
            depth_bonus=self.depth_bonus,
        )

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, 1) or, with `hard`, (B, T): the group's z-score."""
        from aepo.core.advantages import group_relative
        from aepo.core.credit import shared_mean

        advantages_B = group_relative(batch.rewards_B, batch.groups_B)
        return advantages_B[:, None] if self.attribution == "soft" else shared_mean(advantages_B, batch.nodes_BT)

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """PPO's clipped loss."""
        from aepo.core.losses import clipped

        return clipped(logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_low, self.clip_high, self.dual_clip)

    @property
    def needs_entropy(self) -> bool:
        """The rollout reads entropies."""
        return True
