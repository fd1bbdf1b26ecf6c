"""What a run has used so far, and when that is all it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from aepo.config import TrainConfig
from aepo.rollout.explorer import executed_calls
from aepo.types import Group, Kind


@dataclass(frozen=True)
class Spent:
    """What rollouts have used, over the whole run.

    Attributes:
        trajectories: Ended ones.
        tokens_sampled: Tokens that the policy wrote; one on a shared prefix counts once.
        executed_calls: Tool calls that really ran; one on a shared prefix counts once.
    """

    trajectories: int = 0
    tokens_sampled: int = 0
    executed_calls: int = 0

    def after(self, groups: Sequence[Group]) -> Spent:
        """With one more step's rollout."""
        trees = [group.tree for group in groups]
        return Spent(
            self.trajectories + sum(len(tree.leaves) for tree in trees),
            self.tokens_sampled + sum(len(n.tokens) for tree in trees for n in tree.nodes if n.kind is Kind.POLICY),
            self.executed_calls + sum(map(executed_calls, trees)),
        )

    def metrics(self) -> dict[str, float]:
        """As a run logs them: `budget/trajectories` and so on."""
        return {f"budget/{name}": float(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metrics(cls, row: Mapping[str, Any]) -> Spent:
        """Read what `metrics` gave."""
        return cls(**{field.name: int(row[f"budget/{field.name}"]) for field in fields(cls)})

    def to_dict(self) -> dict[str, int]:
        """For a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spent:
        """Read what `to_dict` wrote."""
        return cls(**{field.name: int(data[field.name]) for field in fields(cls)})


def ended(step: int, spent: Spent, train: TrainConfig) -> bool:
    """Whether a run is at its end: all its steps are made, or one of its limits is reached."""
    limits = (
        (spent.trajectories, train.max_trajectories),
        (spent.tokens_sampled, train.max_sampled_tokens),
        (spent.executed_calls, train.max_executed_calls),
    )
    return step >= train.steps or any(limit is not None and used >= limit for used, limit in limits)


def steps_at_most(train: TrainConfig, trajectories_a_step: int) -> int:
    """Steps after which a run is at its end for sure; its limits on tokens and calls may end it before.

    Args:
        train: Its limits.
        trajectories_a_step: What one step samples at least.
    """
    if train.max_trajectories is None:
        return train.steps
    return min(train.steps, -(-train.max_trajectories // trajectories_a_step))
