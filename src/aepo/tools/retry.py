"""Trying again: the one way in which a service is asked once more after a try that did not work."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import anyio

T = TypeVar("T")

_LONGEST = 366 * 86400.0
# Its own: the order in which replies come must not move anybody else's chance.
_chance = random.Random()


class TryFailed(Exception):
    """One try did not work.

    Attributes:
        again: Whether another may.
        after: Seconds that the service asks to be left alone for; None if it names none.
    """

    def __init__(self, cause: str, again: bool = True, after: float | None = None) -> None:
        """Say why, and what may help."""
        super().__init__(cause)
        self.again, self.after = again, after


async def retried(
    once: Callable[[], Awaitable[T]],
    attempts: int,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    worth: Callable[[float], bool] = lambda seconds: True,
    heard: Callable[[TryFailed, int], None] = lambda failure, attempt: None,
) -> T:
    """What `once` gives; after a `TryFailed` it is awaited again.

    The wait before that is the one that the failure names, else `backoff`. Cancelling ends a try and a wait alike.

    Args:
        once: One try.
        attempts: At most.
        sleep: Waits between them.
        worth: Whether so many seconds may be waited, e.g. within a deadline.
        heard: Is told of each failure that another try follows, with its number from 1.

    Raises:
        TryFailed: That of the last try. Any other error of `once` is raised at once.
    """
    for attempt in itertools.count(1):
        try:
            return await once()
        except TryFailed as failure:
            wait = backoff(attempt, _chance.random()) if failure.after is None else failure.after
            if not failure.again or attempt >= attempts or not worth(wait):
                raise
            heard(failure, attempt)
        await sleep(wait)
    raise AssertionError("unreachable")


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
