"""Giving every leaf of a rollout its reward."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from aepo.rewards.base import Reward, checked
from aepo.types import Group, Trajectory


async def score(groups: Sequence[Group], reward: Reward) -> None:
    """Set the reward of every leaf that has none yet, in order.

    Raises:
        ValueError: A reward is None, NaN or no number; the line names the sample.
        Exception: Whatever the reward function raises, with the sample's id as a note.
    """
    for group in groups:
        for trajectory in group.trajectories():
            if trajectory.reward is None:
                trajectory.leaf.reward = await score_of(trajectory, reward)


async def score_of(trajectory: Trajectory, reward: Reward) -> float:
    """The reward of one trajectory, whether its function answers at once or not.

    Raises:
        ValueError: It is None, NaN or no number; the line names the sample.
        Exception: Whatever the reward function raises, with the sample's id as a note.
    """
    try:
        value = reward(trajectory.sample, trajectory)
        value = await value if inspect.isawaitable(value) else value
    except Exception as error:
        error.add_note(f"in the reward of sample {trajectory.sample.id!r}")
        raise
    return checked(value, trajectory.sample)
