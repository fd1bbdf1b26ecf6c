"""`Pace`: when the next request to a service may begin, and how long to wait after a failed one."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST = 366 * 86400.0


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


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or an HTTP date (RFC 9110, 10.2.3); None without."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _LONGEST)
    try:
        date = parsedate_to_datetime(text)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds.total_seconds()), _LONGEST)


def backoff(attempt: int, chance: float) -> float:
    """Seconds before the try after the `attempt`-th (from 1): 0.5, 1, 2 ... 8, of which half is left to chance."""
    return float(min(8.0, 0.5 * 2 ** min(attempt - 1, 10)) * (0.5 + 0.5 * chance))
