"""The calls that lead to the chosen state, where the answer to a question is the state of an environment."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aepo.rewards.answer import agree
from aepo.solving.vote import key
from aepo.types import Group, ToolCall, Trajectory


def best(groups: Sequence[Group]) -> list[Trajectory]:
    """The trajectories with the highest reward; all of them if none has a reward."""
    ended = [trajectory for group in groups for trajectory in group.trajectories()]
    highest = max((one.reward for one in ended if one.reward is not None), default=None)
    return [one for one in ended if one.reward == highest]


def actions(chosen: Sequence[Trajectory], answer: str | None, acting: Collection[str]) -> tuple[ToolCall, ...]:
    """The calls to the environment, in order and without those that failed, of the first trajectory with an answer.

    Args:
        chosen: The trajectories to take one of.
        answer: The chosen answer; None takes the first trajectory.
        acting: The names of the tools that are methods of an environment.
    """
    fits = [one for one in chosen if answer is None or (one.answer and agree(key(one.answer), key(answer)))]
    if not fits:
        return ()
    return tuple(call for call, result in fits[0].calls if result.worked and call.name in acting)
