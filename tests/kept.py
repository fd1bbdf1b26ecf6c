"""What tests ask of a run folder: the step of a checkpoint, and what two runs with the same seed must agree on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_HOW_SERVED = re.compile(r"(eval/)?tool/(cache/|rate/|spent/|retries$)")


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(checkpoint.name.removeprefix("step-").removesuffix(".old"))


def comparable(metrics: Mapping[str, object]) -> dict[str, object]:
    """The metrics that read no clock, and do not say where results of tools came from."""
    return {name: value for name, value in metrics.items() if not _timed(name) and not _HOW_SERVED.match(name)}


def _timed(name: str) -> bool:
    return name.startswith("time/") or name.endswith(("/seconds", "per_second"))
