"""AXPO's rules of the rollout: calls are sampled again if every trajectory that called a tool failed (spec 5).

No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from aepo.core.exploration import Ended, Exploration, Restart
from aepo.types import SUCCESS


@dataclass(frozen=True)
class CallResampling(Exploration):
    """k - r independent trajectories, then r that keep the thinking before a failed call.

    Attributes:
        resamples: r, trajectories that begin when the others have ended.
    """

    resamples: int = 1

    looks_back = True
    needs_rewards = True
    needs_call_entropy = True

    def __post_init__(self) -> None:
        """Check that r is between 1 and k - 1."""
        super().__post_init__()
        if not 1 <= self.resamples < self.group_size:
            raise ValueError(
                f"resamples is {self.resamples}, it must be between 1 and group_size - 1 = {self.group_size - 1}"
            )

    def head_start(self) -> int:
        """All but r."""
        return self.group_size - self.resamples

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        """Restarts before the most uncertain calls, if all trajectories that called a tool failed; else none.

        A trajectory failed if its reward is below `SUCCESS`. The calls with the highest mean entropy come first; equal
        ones go by path number, then by observation. Each call is taken once before any is taken again. Several calls of
        one turn are taken together. Arguments as of `Exploration.restarts`.

        Raises:
            ValueError: A path that called a tool has no reward, or a call has no entropy.
        """
        users = [path for path in ended if path.steps]
        if any(_known(path.reward, "reward", path) >= SUCCESS for path in users):
            return []
        ranked = sorted(
            (-_known(step.call_entropy, "entropy of a call", path), path.path, step.observation)
            for path in users
            for step in path.steps
        )
        return [Restart(path, number, before_call=True) for _, path, number in islice(cycle(ranked), slots)]


def _known(value: float | None, what: str, path: Ended) -> float:
    if value is None:
        raise ValueError(f"call resampling cannot do without the {what}: path {path.path} has none")
    return value
