"""Scores trajectories, each as soon as it has ended, with a limit on the calls at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain

import anyio

from aepo.process import user_code
from aepo.rewards.base import Reward, checked
from aepo.tools.places import Places
from aepo.types import Group, Trajectory

AT_ONCE = 16
"""Default number of reward calls at once."""


class RewardBug(RuntimeError):
    """A reward raised the exception `original`."""

    def __init__(self, reward: Reward, sample: str, original: BaseException) -> None:
        """Name the function and the sample."""
        name = getattr(reward, "__name__", type(reward).__name__)
        super().__init__(f"reward {name} raised {user_code.told(original)}, of sample {sample!r}")
        self.original = original


class RewardScorer:
    """Calls a reward, `concurrency` calls at once, in threads if it is no async function."""

    def __init__(self, reward: Reward, concurrency: int = AT_ONCE) -> None:
        self.reward, self._places = reward, Places(concurrency)

    async def __call__(self, trajectory: Trajectory) -> float:
        """The reward of one trajectory.

        Raises:
            RewardBug: The function raised an exception, `SystemExit` included.
            ValueError: As `checked`.
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
    """Set the reward of every leaf that has none; raises the first failure."""
    scorer = RewardScorer(reward, concurrency)

    async def set_reward(trajectory: Trajectory) -> None:
        trajectory.leaf.reward = await scorer(trajectory)

    try:
        async with anyio.create_task_group() as tasks:
            for trajectory in chain.from_iterable(group.trajectories() for group in groups):
                if trajectory.reward is None:
                    tasks.start_soon(set_reward, trajectory)
    except ExceptionGroup as failures:
        raise failures.exceptions[0]  # noqa: B904  (it has its own cause)
