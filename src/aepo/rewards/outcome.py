"""The reward that an environment gives itself."""

from __future__ import annotations

from aepo.types import Sample, Trajectory


def outcome(sample: Sample, trajectory: Trajectory) -> float:
    """The value of the environment's `get_reward` at the end of the trajectory.

    Raises:
        ValueError: The environment has no `get_reward`.
    """
    if trajectory.outcome is None:
        raise ValueError(f"the environment of sample {sample.id!r} has no get_reward: give the task a reward")
    return trajectory.outcome
