"""Noticing that updates became slower or faster for good reason to measure again how many threads are best."""

from __future__ import annotations

from dataclasses import dataclass, replace

CHANGED = 1.5
"""Updates that take this many times as long for a token, or as short, are a reason to choose threads anew."""
IN_A_ROW = 2
"""So many of them, since one may have met anything."""
REST = 3
"""Steps between two choices: a choice costs a second or so."""


@dataclass(frozen=True)
class UpdateSpeed:
    """Seconds that an update takes for a token, beside those of the first step after threads were chosen.

    Attributes:
        chosen: Seconds a token in that first step; None before it.
        steps: Steps since the choice.
        other: Steps in a row that were slower, or, negative, faster.
    """

    chosen: float | None = None
    steps: int = 0
    other: int = 0

    def after(self, seconds: float, tokens: float) -> tuple[UpdateSpeed, bool]:
        """The speed after one more update, and whether threads should be chosen anew.

        Args:
            seconds: What the update took.
            tokens: Trained tokens that it computed; an update without any says nothing.
        """
        if tokens <= 0:
            return self, False
        now = seconds / tokens
        if self.chosen is None:
            return UpdateSpeed(now, 1), False
        side = (now > CHANGED * self.chosen) - (now < self.chosen / CHANGED)
        other = side + (self.other if side * self.other > 0 else 0)
        if abs(other) >= IN_A_ROW and self.steps >= REST:
            return UpdateSpeed(), True
        return replace(self, steps=self.steps + 1, other=other), False
