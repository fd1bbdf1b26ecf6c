"""What an algorithm is: rules for the rollout, an advantage, a loss; and the settings of the three.

An algorithm is its own configuration: picking it by name with no other key is the setting we stand behind.
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
    """All trajectories of a step, scored; what an advantage is made from.

    Attributes:
        rewards_B: One a trajectory.
        groups_B: Integers; trajectories of one question share theirs.
        entropies_BT: Nats, under the policy that sampled.
        loss_mask_BT: 1 where the policy wrote the token.
        lengths_B: Tokens after the prompt, observations included: what `max_length` limits.
        max_length: `rollout.max_tokens`.
        nodes_BT: Number of the tree's node that a token belongs to, unique in the step; -1 on padding.
        turns_BT: Number of the policy's turn in its trajectory, from 0; -1 where the policy did not write.
        states_BT: Number of the state that the turn started from; -1 where the policy did not write. Turns of one
            group that follow the same tokens of prompt or observation share it; turns of different groups never do.
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
    """The settings that all algorithms share, and the questions that the trainer asks.

    A subclass says only what it does otherwise: `exploration`, `advantages`, `loss`. docs/how-to/own_algorithm.md adds
    one.

    Attributes:
        name: What a configuration picks it by; without a name of its own a class has "package.module:Class".
        group_size: k, trajectories per question.
        aggregation: How token losses become one number (spec 4.3).
        clip_low: Width of the clip range below 1.
        clip_high: Width of the clip range above 1.
        dual_clip: Largest ratio that a negative advantage is multiplied with; null turns it off.
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
        """The rules of the rollout; as it stands k independent trajectories."""
        return IndependentSamples(self.group_size)

    def advantages(self, batch: ScoredBatch) -> Tensor:
        """(B, T) or (B, 1): what each token of each trajectory is worth; as it stands the group's z-score."""
        from aepo.core.advantages import group_relative

        return group_relative(batch.rewards_B, batch.groups_B)[:, None]

    def loss(self, logprobs_BT: Tensor, old_logprobs_BT: Tensor, advantages_BT: Tensor) -> Tensor:
        """(B, T): the loss of each token, before masks and averages; as it stands PPO's clipped loss.

        Args:
            logprobs_BT: Under the policy that is trained.
            old_logprobs_BT: Under the policy that sampled.
            advantages_BT: Of `advantages`, weighted; shapes need only broadcast.
        """
        from aepo.core.losses import clipped

        return clipped(logprobs_BT, old_logprobs_BT, advantages_BT, self.clip_low, self.clip_high, self.dual_clip)

    def informative(self, rewards: Sequence[float]) -> bool:
        """Whether a group with these task rewards is trained on, or replaced by one of another question."""
        return True

    @property
    def rounds(self) -> int:
        """How often a step may sample: once, and again as long as groups are not informative."""
        return 1

    @property
    def needs_entropy(self) -> bool:
        """Whether a part that is switched on reads entropies; a run refuses an engine that has none."""
        rules = self.exploration()
        return rules.watches or rules.probes > 0 or rules.needs_call_entropy
