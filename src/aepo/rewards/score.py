"""Giving trajectories their rewards: each as soon as it has ended, several at once, no more than are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import anyio

from aepo import user_code
from aepo.rewards.base import Reward, checked
from aepo.tools.places import Places
from aepo.types import Group, Leaf, Trajectory

AT_ONCE = 16
"""Rewards that are asked for at once, unless somebody says otherwise."""


class RewardBug(RuntimeError):
    """A reward raised something.

    Attributes:
        original: What it raised.
    """

    def __init__(self, reward: Reward, sample: str, original: BaseException) -> None:
        """Name the function and the sample."""
        name = getattr(reward, "__name__", type(reward).__name__)
        super().__init__(f"reward {name} raised {user_code.told(original)}, of sample {sample!r}")
        self.original = original


class Scorer:
    """Asks a reward, in threads if it is no async function; the others wait for a place.

    Args:
        reward: The function.
        concurrency: Calls at once.
    """

    def __init__(self, reward: Reward, concurrency: int = AT_ONCE) -> None:
        self.reward, self._places = reward, Places(concurrency)

    async def __call__(self, trajectory: Trajectory) -> float:
        """The reward of one trajectory.

        Raises:
            RewardBug: The function raised something, be it `SystemExit`.
            ValueError: It is None, NaN or no number; the line names the sample.
        """
        sample = trajectory.sample
        async with self._places():
            try:
                value = await user_code.call(partial(self.reward, sample, trajectory))
            except Exception as error:
                cause = user_code.original(error)
                raise RewardBug(self.reward, sample.id, cause) from cause
        return checked(value, sample)


async def score(groups: Sequence[Group], reward: Reward, concurrency: int = AT_ONCE) -> None:
    """Set the reward of every leaf that has none yet.

    Raises:
        RewardBug: The function raised something.
        ValueError: A reward is None, NaN or no number; the line names the sample.
    """
    scorer = Scorer(reward, concurrency)
    failures: list[Exception] = []

    async def set_reward(leaf: Leaf, trajectory: Trajectory) -> None:
        try:
            leaf.reward = await scorer(trajectory)
        except Exception as error:
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for group in groups:
            for trajectory in group.trajectories():
                if trajectory.reward is None:
                    tasks.start_soon(set_reward, trajectory.leaf, trajectory)
    if failures:
        raise failures[0]
