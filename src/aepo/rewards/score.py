"""Giving every leaf of a rollout its reward."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from aepo.rewards.base import Reward, checked
from aepo.types import Group


async def score(groups: Sequence[Group], reward: Reward) -> None:
    """Set the reward of every leaf, in order.

    Raises:
        ValueError: A reward is None, NaN or no number; the line names the sample.
        Exception: Whatever the reward function raises, with the sample's id as a note.
    """
    for group in groups:
        for trajectory in group.trajectories():
            try:
                value = reward(group.sample, trajectory)
                value = await value if inspect.isawaitable(value) else value
            except Exception as error:
                error.add_note(f"in the reward of sample {group.sample.id!r}")
                raise
            trajectory.leaf.reward = checked(value, group.sample)
