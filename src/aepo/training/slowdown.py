"""Noticing that updates became slower or faster for good reason to measure again how many threads are best."""

from __future__ import annotations

from dataclasses import dataclass, replace

CHANGED = 1.5
"""Updates that take this many times as long for a token, or as short, are a reason to choose threads anew."""
REST = 3
"""Steps between two choices: a choice costs a second or so."""


@dataclass(frozen=True)
class UpdateSpeed:
    """Seconds that an update takes for a token, beside those of the first step after threads were chosen.

    Attributes:
        chosen: Seconds a token in that first step; None before it.
        steps: Steps since the choice.
    """

    chosen: float | None = None
    steps: int = 0

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
        changed = not 1 / CHANGED < now / self.chosen < CHANGED
        if changed and self.steps >= REST:
            return UpdateSpeed(), True
        return replace(self, steps=self.steps + 1), False
