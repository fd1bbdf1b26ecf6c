"""An algorithm: rules for the rollout, an advantage and a loss, with their settings.

An algorithm is its own section of a configuration. With its name alone it has its defaults, which are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aepo.core.exploration import Exploration, IndependentSamples

if TYPE_CHECKING:
    from torch import Tensor

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"]


@dataclass(frozen=True)
class ScoredBatch:
    """All trajectories of a step, scored: the input of an advantage.

    Attributes:
        rewards_B: One per trajectory.
        groups_B: Integers, equal for trajectories of one question.
        entropies_BT: Nats, under the policy that sampled.
        loss_mask_BT: 1 where the token is trained: the policy wrote it, and not in a broken turn that it was told of.
        lengths_B: Tokens after the prompt, observations included; `max_length` limits them.
        max_length: `rollout.max_tokens`.
        nodes_BT: Number of the token's node in the tree, unique in the step; -1 on padding.
        turns_BT: Number of the token's turn among the trained turns, from 0; -1 where the token is not trained.
        states_BT: Number of the state that the turn started from; -1 where the token is not trained. Turns of one
            group that follow the same prompt or observation tokens have the same number.
    """

    rewards_B: Tensor
    groups_B: Tensor
    entropies_BT: Tensor
    loss_mask_BT: Tensor
    lengths_B: Tensor
    max_length: int
    nodes_BT: Tensor
    turns_BT: Tensor
    states_BT: Tensor


class Algorithm(BaseModel):
    """The settings that all algorithms share, and the methods that the trainer calls.

    A subclass overrides `exploration`, `advantages` or `loss` where it differs; see docs/how-to/own_algorithm.md.

    Attributes:
        name: Its name in a configuration; by default "package.module:Class".
        group_size: k, trajectories per question.
        aggregation: How token losses become one number.
        clip_low: Width of the clip range below 1.
        clip_high: Width of the clip range above 1.
        dual_clip: Largest ratio that a negative advantage is multiplied by; null turns it off.
        kl_weight: Weight of the k3 estimate of KL to the model that training started from; 0 loads no reference.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    group_size: int = Field(default=8, ge=2)
    aggregation: Aggregation = "token-mean"
    clip_low: float = Field(default=0.2, ge=0, le=1)
    clip_high: float = Field(default=0.2, ge=0)
    dual_clip: float | None = Field(default=3.0, gt=1)
    kl_weight: float = Field(default=0.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _named_by_its_place(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_fields["name"].is_required():
            return {"name": f"{cls.__module__}:{cls.__name__}", **data}
        return data

    def exploration(self) -> Exploration:
        """The rules of the rollout; by default k independent trajectories."""
        return IndependentSamples(self.group_size)

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T) or (B, 1): the advantage of each token of each trajectory; by default the group's z-score."""
        from aepo.core.advantages import group_relative

        return group_relative(batch.rewards_B, batch.groups_B)[:, None]

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """(B, T): the loss of each token, before masks and averages; by default PPO's clipped loss.

        Args:
            logprobs_BT: ln p under the policy that is trained.
            old_logprobs_BT: ln p under the policy that sampled.
            advantages_BT: The result of `advantages`; it broadcasts to (B, T).
        """
        from aepo.core.losses import clipped

        return clipped(logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_low, self.clip_high, self.dual_clip)

    def informative(self, rewards: Sequence[float]) -> bool:
        """Whether a group with these task rewards is trained on; otherwise another question's group replaces it."""
        return True

    @property
    def rounds(self) -> int:
        """How often a step may sample; it samples again only while groups are not informative."""
        return 1

    @property
    def needs_entropy(self) -> bool:
        """Whether a part that is switched on reads entropies; then a run refuses an engine without them."""
        rules = self.exploration()
        return rules.watches or rules.probes > 0 or rules.needs_call_entropy

    @property
    def needs_every_entropy(self) -> bool:
        """Whether it reads the entropies of all tokens, not only of the first W after the prompt or a result."""
        return self.exploration().needs_call_entropy
