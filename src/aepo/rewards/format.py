"""Checks that a trajectory ended without a format error and with an answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable

from aepo.rewards.base import Reward
from aepo.types import Sample, Trajectory


def well_formed(trajectory: Trajectory) -> bool:
    """Whether no format error ended the trajectory and its answer is not blank.

    Broken turns that the model was told of do not count (`rollout.on_format_error: tell`); `Trajectory.format_errors`
    counts them.
    """
    return trajectory.format_error is None and bool(trajectory.answer and trajectory.answer.strip())


def format_score(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 for a well-formed trajectory, else 0.0; the answer's content does not matter."""
    return float(well_formed(trajectory))


def with_format(reward: Reward, broken: float = -1.0, told: float = 0.0) -> Reward:
    """A reward that gives `broken` for a format error at the end or a missing answer, and otherwise that of `reward`.

    Args:
        reward: Scores the other trajectories.
        broken: The reward of a trajectory that is not well formed.
        told: Added to the reward for each broken turn that the model was told of; it should not be above 0.
    """

    def scored(sample: Sample, trajectory: Trajectory) -> float | Awaitable[float]:
        if not well_formed(trajectory):
            return broken
        value = reward(sample, trajectory)
        if not trajectory.format_errors:
            return value
        more = told * trajectory.format_errors
        return _plus(value, more) if inspect.isawaitable(value) else value + more

    return scored


async def _plus(value: Awaitable[float], more: float) -> float:
    return await value + more
