"""Watches policy entropy, which should neither collapse nor explode in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

SMOOTHED_STEPS = 5

Side = Literal["inside", "below", "above"]


@dataclass(frozen=True)
class EntropyWatch:
    """Compares policy entropy with its start, both as means over `SMOOTHED_STEPS` steps.

    Attributes:
        band: The largest relative change without an alarm, e.g. 0.3.
        start: The entropies of the first steps, in nats.
        recent: The entropies of the last steps, in nats.
        side: The side of the band after the last step.
    """

    band: float
    start: tuple[float, ...] = ()
    recent: tuple[float, ...] = ()
    side: Side = "inside"

    def after(self, entropy: float) -> EntropyWatch:
        """The watch after one more step's policy entropy; the first `SMOOTHED_STEPS` steps give no alarm."""
        start = (*self.start, entropy)[:SMOOTHED_STEPS]
        recent = (*self.recent, entropy)[-SMOOTHED_STEPS:]
        side: Side = "inside"
        if len(start) == SMOOTHED_STEPS and abs(fmean(recent) - fmean(start)) > self.band * fmean(start):
            side = "below" if fmean(recent) < fmean(start) else "above"
        return replace(self, start=start, recent=recent, side=side)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint, without the band, which is a setting."""
        return {"start": self.start, "recent": self.recent, "side": self.side}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], band: float) -> EntropyWatch:
        """Read the result of `to_dict`."""
        return cls(band, tuple(data["start"]), tuple(data["recent"]), data["side"])


def watched(
    watch: EntropyWatch | None, entropy: float | None, tell: Callable[[str], None]
) -> tuple[EntropyWatch | None, dict[str, float]]:
    """The watch after one more step, and its metrics of the step.

    Args:
        watch: The watch before the step; None without an alarm.
        entropy: The step's policy entropy; None if there is none.
        tell: Called with one line when entropy has just left its band.
    """
    if watch is None or entropy is None:
        return watch, {}
    now = watch.after(entropy)
    if (line := advice(watch, now)) is not None:
        tell(line)
    sides = {f"alarm/entropy_{side}": float(now.side == side) for side in ("below", "above")}
    return now, {"alarm/entropy": float(now.side != "inside"), **sides}


def advice(before: EntropyWatch, now: EntropyWatch) -> str | None:
    """One line of advice if entropy has just left its band, else None."""
    if now.side in ("inside", before.side):
        return None
    moved = (
        f"policy entropy went from {fmean(now.start):.3f} to {fmean(now.recent):.3f} nats, "
        f"more than {100 * now.band:.0f} % {now.side} its start: "
    )
    if now.side == "below":
        return moved + "to keep exploring lower train.learning_rate, or raise algorithm.clip_high or .kl_weight"
    return moved + "to calm it lower train.learning_rate or algorithm.clip_high, or raise .kl_weight"
