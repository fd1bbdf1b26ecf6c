"""Notices when updates become slower or faster, so that the number of threads is chosen again."""

from __future__ import annotations

from dataclasses import dataclass, replace

CHANGED = 1.5
"""Factor by which the seconds per token must rise or fall before threads are chosen again."""
IN_A_ROW = 2
"""Number of such updates in a row; a single one can be an accident."""
REST = 3
"""Fewest steps between two choices, because a choice costs about a second."""


@dataclass(frozen=True)
class UpdateSpeed:
    """Compares the seconds per token of updates with the first step after threads were chosen.

    Attributes:
        chosen: The seconds per token in that first step; None before it.
        steps: The number of steps since the choice.
        other: The number of slower steps in a row; negative for faster ones.
    """

    chosen: float | None = None
    steps: int = 0
    other: int = 0

    def after(self, seconds: float, tokens: float) -> tuple[UpdateSpeed, bool]:
        """The state after one more update, and whether threads should be chosen again.

        Args:
            seconds: The duration of the update.
            tokens: The number of trained tokens that it computed; an update without any is ignored.
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
