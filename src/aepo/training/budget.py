"""Counts what a run has used, and ends it at its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from aepo.config import TrainConfig
from aepo.rollout.explorer import executed_calls
from aepo.types import Group, Kind


@dataclass(frozen=True)
class Spent:
    """The resources that all rollouts of a run have used.

    Attributes:
        trajectories: The number of ended trajectories.
        tokens_sampled: The number of tokens that the policy wrote; those on a shared prefix count once.
        executed_calls: The number of executed tool calls; those on a shared prefix count once.
    """

    trajectories: int = 0
    tokens_sampled: int = 0
    executed_calls: int = 0

    def after(self, groups: Sequence[Group], written: int = 0) -> Spent:
        """The sum after one more step's rollout.

        Args:
            groups: Its groups.
            written: Tokens that a writer of instructions wrote.
        """
        trees = [group.tree for group in groups]
        return Spent(
            self.trajectories + sum(len(tree.leaves) for tree in trees),
            self.tokens_sampled
            + sum(len(n.tokens) for tree in trees for n in tree.nodes if n.kind is Kind.POLICY)
            + written,
            self.executed_calls + sum(map(executed_calls, trees)),
        )

    def metrics(self) -> dict[str, float]:
        """The numbers as metrics: `budget/trajectories` and so on."""
        return {f"budget/{name}": float(value) for name, value in asdict(self).items()}

    @classmethod
    def from_metrics(cls, row: Mapping[str, Any]) -> Spent:
        """Read the result of `metrics`."""
        return cls(**{field.name: int(row[f"budget/{field.name}"]) for field in fields(cls)})

    def to_dict(self) -> dict[str, int]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spent:
        """Read the result of `to_dict`."""
        return cls(**{field.name: int(data[field.name]) for field in fields(cls)})


def ended(step: int, spent: Spent, train: TrainConfig) -> bool:
    """Whether a run has made all its steps or reached one of its limits."""
    limits = (
        (spent.trajectories, train.max_trajectories),
        (spent.tokens_sampled, train.max_sampled_tokens),
        (spent.executed_calls, train.max_executed_calls),
    )
    return step >= train.steps or any(limit is not None and used >= limit for used, limit in limits)


def steps_at_most(train: TrainConfig, trajectories_a_step: int) -> int:
    """The largest number of steps of a run; its limits on tokens and calls may end it earlier.

    Args:
        train: The run's limits.
        trajectories_a_step: The smallest number of trajectories that a step samples.
    """
    if train.max_trajectories is None:
        return train.steps
    return min(train.steps, -(-train.max_trajectories // trajectories_a_step))
