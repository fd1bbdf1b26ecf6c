"""The entropy of a segment, and the unit of entropy differences. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

Mode: TypeAlias = Literal["running", "nats", "log_vocab", "centered", "reference"]
MODES: tuple[str, ...] = get_args(Mode)

SUMMED = ("log_vocab", "reference")
"""Units in which a segment's entropy is the sum over its first tokens."""

# Smaller differences are rounding errors, and dividing by less would make them large.
SMALLEST_SCALE = 1e-6


def segment_entropy(entropies: Sequence[float], window: int = 20, scale_mode: str = "running") -> float:
    """Mean token entropy over the first `window` tokens of a segment, in nats; in some units their sum.

    ARPO's paper and the public code take sums. A mean is `window` times smaller, and with it `log_vocab` would hardly
    ever branch twice in a row or move m.

    Args:
        entropies: Per token; the engine's `reference_entropies` when `scale_mode` is "reference".
        window: W; a shorter segment uses the tokens it has.
        scale_mode: "log_vocab" and "reference" give the sum instead of the mean; short segments get less.

    Raises:
        ValueError: The segment has no token, or `window` is below 1.
    """
    if window < 1:
        raise ValueError(f"entropy_window is {window}, it must be at least 1")
    first = entropies[:window]
    if not first:
        raise ValueError("segment without tokens has no entropy: sample at least one token before asking for it")
    total = math.fsum(first)
    return total if scale_mode in SUMMED else total / len(first)


@dataclass(frozen=True)
class EntropyScale:
    """Turns an entropy difference in nats into the unit that `beta` and `gamma` expect.

    | mode | scaled difference |
    |---|---|
    | running | d / rms, the running root mean square of such differences; keeps the sign |
    | centered | (d - mean) / rms of (d - mean): more uncertain than usual; for branching only |
    | nats | d |
    | log_vocab, reference | d / ln V, d a difference of sums over the first tokens |

    The running moments are exponential averages over steps, corrected for their start: after the first step they are
    that step's. Before that, and where they are 0, a difference is divided by 1 nat.

    Attributes:
        mode: One of `MODES`.
        vocab_size: V; used by log_vocab and reference only.
        decay: Weight of the past at each step; 0.9 remembers about ten steps.
        mean: Running mean of the differences, in nats.
        mean_square: Running mean of their squares, in nats squared.
        steps: Steps that brought at least one difference.
    """

    mode: str = "running"
    vocab_size: int = 0
    decay: float = 0.9
    mean: float = 0.0
    mean_square: float = 0.0
    steps: int = 0

    def __post_init__(self) -> None:
        """Check mode, vocabulary size and decay."""
        if self.mode not in MODES:
            raise ValueError(f"unknown entropy_scale {self.mode!r}, known are {', '.join(MODES)}")
        if self.mode in ("log_vocab", "reference") and self.vocab_size < 2:
            raise ValueError(f"entropy_scale {self.mode!r} needs a vocab_size of at least 2, got {self.vocab_size}")
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay of the entropy scale is {self.decay}, it must be in [0, 1)")

    def __call__(self, difference: float) -> float:
        """The scaled difference, without unit (nats for mode "nats")."""
        if self.mode == "running":
            return difference / self._root(self.mean_square)
        if self.mode == "centered":
            return (difference - self.mean) / self._root(self.mean_square - self.mean**2)
        if self.mode == "nats":
            return difference
        return difference / math.log(self.vocab_size)

    def updated(self, differences: Sequence[float]) -> EntropyScale:
        """The scale after a step with these unscaled differences, in nats; without any it does not change.

        Each step has the same weight, whatever its number of differences.

        Raises:
            ValueError: A difference is not finite.
        """
        if not differences:
            return self
        if not all(map(math.isfinite, differences)):
            raise ValueError("an entropy difference is not finite: the model's logits are broken")
        count = len(differences)
        steps = self.steps + 1
        return replace(
            self,
            mean=running_mean(self.mean, math.fsum(differences) / count, steps, self.decay),
            mean_square=running_mean(
                self.mean_square, math.fsum(d * d for d in differences) / count, steps, self.decay
            ),
            steps=steps,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict(to_dict())` is equal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EntropyScale:
        """Rebuild from `to_dict` form."""
        return cls(**data)

    def _root(self, square: float) -> float:
        if self.steps == 0:
            return 1.0
        return max(math.sqrt(max(square, 0.0)), SMALLEST_SCALE)


def running_mean(old: float, new: float, steps: int, decay: float) -> float:
    """Exponential average corrected for its start: old + (new - old) (1 - decay) / (1 - decay^steps).

    Args:
        old: The average after `steps` - 1 values.
        new: The value of this step.
        steps: Number of values, this one included; at 1 the result is exactly `new`.
        decay: Weight of the past, in [0, 1).
    """
    if steps == 1:
        return new
    return old + (new - old) * (1.0 - decay) / (1.0 - decay**steps)
