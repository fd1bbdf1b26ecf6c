"""What a run brings to an evaluation or to a question: its configuration, and what its model was told."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from aepo import config as configuration
from aepo.config import Config
from aepo.files.paths import local
from aepo.runs.folder import RunFolder
from aepo.tasks.identity import of_told
from aepo.tools.base import Tool


def run_of(policy: Any) -> Path | None:
    """The folder of the run that a policy is named by; None if it is something else."""
    path = local(policy) if isinstance(policy, str | PathLike) else None
    return path if path is not None and RunFolder(path).config_file is not None else None


def config_of(run: Path | None, config: Config | None) -> Config:
    """A given configuration, else that of the run, else the class defaults."""
    if config is not None or run is None:
        return config or Config()
    return configuration.load(RunFolder(run).config_file)


def told_by(run: Path | None, tools: Sequence[Tool]) -> dict[str, Any]:
    """The arguments of `Task` that say what the model was told in training: system message and examples.

    Args:
        run: The run folder; None gives the defaults, and so does a run of an older version.
        tools: The tools; examples that call others are left out.
    """
    return of_told({} if run is None else RunFolder(run).task().get("told", {}), tools)


def unlike_training(run: Path | None, tools: Sequence[Tool]) -> str | None:
    """A line that names the tools and those of the training, if they differ."""
    known = {} if run is None else RunFolder(run).task()
    before, now = list(known.get("tools", {})), [tool.name for tool in tools]
    if "tools" not in known or set(before) == set(now):
        return None
    return f"unlike training: the tools are {', '.join(now) or 'none'}, training had {', '.join(before) or 'none'}"
