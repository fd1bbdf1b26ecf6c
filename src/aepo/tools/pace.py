"""`Pace`: when the next request to a service may begin."""

from __future__ import annotations

import threading


class Pace:
    """Spaces the requests of a process evenly, and delays all of them if the service asks for it."""

    def __init__(self, rate: float | None) -> None:
        """Start at once.

        Args:
            rate: Requests a second; None is no limit.
        """
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._next = self._held = float("-inf")
        # Several event loops in threads may share a service.
        self._lock = threading.Lock()

    def wait(self, now: float) -> float:
        """Take the next turn: seconds until it."""
        with self._lock:
            turn = max(now, self._next, self._held)
            self._next = turn + self._gap
            return turn - now

    def hold(self, until: float) -> None:
        """Let no request begin before this time."""
        with self._lock:
            self._held = max(self._held, until)

    def held(self, now: float) -> float:
        """Seconds for which the service still asks for no requests."""
        return max(0.0, self._held - now)
