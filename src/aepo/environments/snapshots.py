"""The kept states of one trajectory's world, and which of them may still be needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


class Snapshots:
    """States by the number of calls before them. An older one is dropped when no trajectory can begin there."""

    def __init__(self, states: Mapping[int, Any] | None = None) -> None:
        """These states are needed once each."""
        self._states = dict(states or {})
        # Several observations may have the same number of calls, because not every call reaches the world.
        self._needed = Counter(dict.fromkeys(self._states, 1))

    @property
    def newest(self) -> int:
        """The number of calls before the newest state; 0 without one."""
        return max(self._states, default=0)

    def find(self, calls: int) -> Any:
        """The state after exactly so many calls; None without one."""
        return self._states.get(calls)

    def until(self, calls: int) -> Snapshots:
        """The newest state after at most so many calls, for a trajectory that begins there."""
        newest = max((number for number in self._states if number <= calls), default=None)
        return Snapshots(None if newest is None else {newest: self._states[newest]})

    def keep(self, calls: int, state: Any) -> None:
        """Keep a state, for trajectories that may begin after so many calls."""
        self._states[calls] = state
        self._needed[calls] += 1
        self._forget()

    def let_go(self, calls: int) -> None:
        """No trajectory begins at an observation after so many calls; its state goes as soon as a newer one is kept."""
        self._needed[calls] -= 1
        self._forget()

    def clear(self) -> None:
        """Drop all states."""
        self._states.clear()

    def _forget(self) -> None:
        # A world that dies goes on from the newest state.
        for number in [one for one in self._states if one < self.newest and self._needed[one] <= 0]:
            del self._states[number]
