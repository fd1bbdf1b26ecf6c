"""AXPO's rules of the rollout: calls are sampled again if every trajectory that called a tool failed.

No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

from aepo.core.exploration import Ended, Exploration, Restart, Step
from aepo.types import SUCCESS


@dataclass(frozen=True)
class CallResampling(Exploration):
    """k - r independent trajectories, then r that keep the thinking before a failed call.

    Attributes:
        resamples: r, trajectories that begin when the others have ended.
        candidates: "all" calls, or the "first" of each path alone, as in the paper.
        rank: What makes a call uncertain: the mean "entropy" of its tokens, or their mean "probability", as in the
            paper.
        continuations: K, how often a call is taken before the next one; the paper has 4.
        inside_call: Whether the opening of the call is kept, so that a call follows in any case, as in the paper.
    """

    resamples: int = 1
    candidates: Literal["all", "first"] = "all"
    rank: Literal["entropy", "probability"] = "entropy"
    continuations: int = 1
    inside_call: bool = False

    looks_back = True
    needs_rewards = True

    @property
    def needs_call_entropy(self) -> bool:
        """Whether calls are ranked by entropy."""
        return self.rank == "entropy"

    @property
    def needs_call_probability(self) -> bool:
        """Whether calls are ranked by probability."""
        return self.rank == "probability"

    def __post_init__(self) -> None:
        """Check that r is between 1 and k - 1."""
        super().__post_init__()
        if not 1 <= self.resamples < self.group_size:
            raise ValueError(
                f"resamples is {self.resamples}, it must be between 1 and group_size - 1 = {self.group_size - 1}"
            )
        if self.continuations < 1:
            raise ValueError(f"continuations is {self.continuations}, it must be at least 1")

    def head_start(self) -> int:
        """All but r."""
        return self.group_size - self.resamples

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        """Restarts before the most uncertain calls, if all trajectories that called a tool failed; else none.

        A trajectory failed if its reward is below `SUCCESS`. The calls with the highest mean entropy, or the lowest
        mean probability, come first; equal ones go by path number, then by observation. Each call is taken
        `continuations` times before any is taken again. Several calls of one turn are taken together. Arguments as of
        `Exploration.restarts`.

        Raises:
            ValueError: A path that called a tool has no reward, or a call has no entropy or probability.
        """
        users = [path for path in ended if path.steps]
        if any(_known(path.reward, "reward", path) >= SUCCESS for path in users):
            return []
        ranked = sorted(
            (self._certainty(step, path), path.path, step.observation)
            for path in users
            for step in (path.steps if self.candidates == "all" else path.steps[:1])
        )
        places = [
            Restart(path, number, before_call=True, inside_call=self.inside_call)
            for _, path, number in ranked
            for _ in range(self.continuations)
        ]
        return list(islice(cycle(places), slots))

    def _certainty(self, step: Step, path: Ended) -> float:
        """Sort key of calls; the most uncertain have the lowest."""
        if self.rank == "probability":
            return _known(step.call_probability, "probability of a call", path)
        return -_known(step.call_entropy, "entropy of a call", path)


def _known(value: float | None, what: str, path: Ended) -> float:
    if value is None:
        raise ValueError(f"call resampling cannot do without the {what}: path {path.path} has none")
    return value
