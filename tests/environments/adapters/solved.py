"""Plays the solutions that benchmarks have for their own tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aepo.environments.contract import reset_arguments
from aepo.types import Sample, ToolError

Call = tuple[str, list[Any], dict[str, Any]]


def played(kind: type, sample: Sample, calls: Callable[[Any], Iterable[Call]]) -> tuple[list[Any], float]:
    """What each call gives, and the reward at the end."""
    world = kind()
    world.reset(**reset_arguments(kind, sample))
    said = []
    for name, args, kwargs in calls(world):
        try:
            said.append(getattr(world, name)(*args, **kwargs))
        except ToolError as error:
            said.append(f"error: {error}")
    return said, world.get_reward()
