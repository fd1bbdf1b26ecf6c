"""The type of a reward, and the check of its values."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from math import isfinite
from typing import TypeAlias

from aepo.types import Sample, Trajectory

Reward: TypeAlias = Callable[[Sample, Trajectory], float | Awaitable[float]]
"""Scores one finished trajectory; may be an async function."""

Score: TypeAlias = Callable[[Sample, Trajectory], float]
"""A reward that is no async function; all built-in ones are of this type."""


def checked(value: object, sample: Sample) -> float:
    """`value` as a float, if it is one finite number.

    Raises:
        ValueError: It is None, NaN, infinite, a text or anything else; the message names the sample.
    """
    if inspect.isawaitable(value):
        told = "an awaitable that nobody awaited"
    elif value is None or isinstance(value, str | bytes):
        told = repr(value)
    else:
        try:
            number = float(value)  # type: ignore[arg-type]  # numpy and torch scalars too
        except (TypeError, ValueError, RuntimeError, OverflowError):
            told = f"a {type(value).__name__}"
        else:
            if isfinite(number):
                return number
            told = str(number)
    raise ValueError(f"reward of sample {sample.id!r} is {told}: a reward must return one finite number")


def targets(sample: Sample) -> list[str]:
    """The accepted answers of `sample`; ValueError if it has none."""
    accepted = [sample.target] if isinstance(sample.target, str) else list(sample.target)
    if not any(t.strip() for t in accepted):
        raise ValueError(f"sample {sample.id!r} has no target: give it one, or use a reward that needs none")
    return accepted
