"""Whether a trajectory kept the format: what the protocol found wrong in the policy's own tokens, and an answer."""

from __future__ import annotations

from collections.abc import Awaitable

from aepo.rewards.base import Reward
from aepo.types import Sample, Trajectory


def well_formed(trajectory: Trajectory) -> bool:
    """Whether nothing was wrong with the format and there is an answer that is not blank."""
    return trajectory.format_error is None and bool(trajectory.answer and trajectory.answer.strip())


def format_score(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 for a well-formed trajectory, else 0.0, whatever the answer says."""
    return float(well_formed(trajectory))


def with_format(reward: Reward, broken: float = -1.0) -> Reward:
    """A reward that gives `broken` for a broken format or a missing answer, and asks `reward` otherwise."""

    def scored(sample: Sample, trajectory: Trajectory) -> float | Awaitable[float]:
        return reward(sample, trajectory) if well_formed(trajectory) else broken

    return scored
