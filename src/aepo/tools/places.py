"""Limits calls at once; further calls wait in order."""

from __future__ import annotations

import anyio
import anyio.lowlevel


class Places:
    """As many places as calls may run at once, counted apart in each event loop of the process."""

    def __init__(self, count: int) -> None:
        """Set the number of places."""
        self.count = count
        # A limiter belongs to the event loop that first waits on it, and one tool may serve several loops.
        self._limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("places")

    def __call__(self) -> anyio.CapacityLimiter:
        """The limiter of this event loop: `async with places(): ...`."""
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self.count)
            self._limiter.set(limiter)
            return limiter
