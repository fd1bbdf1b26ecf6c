"""Checks that a trajectory has no format error and an answer."""

from __future__ import annotations

from collections.abc import Awaitable

from aepo.rewards.base import Reward
from aepo.types import Sample, Trajectory


def well_formed(trajectory: Trajectory) -> bool:
    """Whether there is no format error and the answer is not blank."""
    return trajectory.format_error is None and bool(trajectory.answer and trajectory.answer.strip())


def format_score(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 for a well-formed trajectory, else 0.0; the answer's content does not matter."""
    return float(well_formed(trajectory))


def with_format(reward: Reward, broken: float = -1.0) -> Reward:
    """A reward that gives `broken` for a format error or a missing answer, and otherwise that of `reward`."""

    def scored(sample: Sample, trajectory: Trajectory) -> float | Awaitable[float]:
        return reward(sample, trajectory) if well_formed(trajectory) else broken

    return scored
