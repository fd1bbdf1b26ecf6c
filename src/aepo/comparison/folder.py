"""Claims a comparison's folder, and finds its finished runs.

runs/comparison/
    comparison.yaml              the comparison's settings
    runs/aepo-seed-0/            an ordinary run folder
    logs/aepo-seed-0.log         the output of that run
    comparison.md                the tables
    comparison.json              the same numbers
    figures/                     PNG and SVG
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from aepo import config as configuration
from aepo.comparison.plan import LIMITS, Plan, PlannedRun
from aepo.config import ConfigError, change, flat, merged
from aepo.files.whole import write_whole
from aepo.runs import checkpoint
from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.resumed import FREE_FOR_RUN, on_day
from aepo.training.budget import Spent, ended

FREE = set(FREE_FOR_RUN) - {f"train.{limit}" for limit in LIMITS.values()}
"""Settings that a continued comparison may change: they affect neither the results of a step nor the budget."""


def dated(plan: Plan) -> Plan:
    """Give the chat templates of all runs the same date: the day on which the comparison began."""
    if plan.shared["rollout"]["date"] is not None:
        return plan
    file = plan.folder / "comparison.yaml"
    shared = configuration.read(file).get("shared", {}) if file.is_file() else {"rollout": {"date": str(date.today())}}
    begun = shared.get("rollout", {}).get("date")
    day = None if begun is None else date.fromisoformat(begun)
    runs = [replace(run, config=on_day(run.config, run.config.rollout.date or day)) for run in plan.runs]
    return replace(plan, shared=merged(plan.shared, {"rollout.date": begun}), runs=runs)


def claim(plan: Plan) -> None:
    """Make the comparison's folder, or check that it belongs to this comparison; new entries and seeds are allowed.

    Raises:
        ConfigError: The folder holds another comparison, or something else.
        RunFolderError: The folder cannot be written.
    """
    file = plan.folder / "comparison.yaml"
    if file.is_file():
        _same(plan, file, configuration.read(file).get("shared", {}), plan.shared, "")
    elif plan.folder.is_dir() and any(plan.folder.iterdir()):
        raise ConfigError(f"{plan.folder} holds something else than a comparison: choose another folder=...")
    for run in plan.runs:
        if (folder := RunFolder(run.folder)).config_file:
            _same(plan, run.folder, folder.config(), run.config.model_dump(mode="json"), f"{run}: ")
    entries = {run.label: run.config.model_dump(mode="json", include={"algorithm"}) for run in plan.runs}
    data = {"shared": plan.shared, "seeds": plan.seeds, "budget": plan.budget.model_dump(), "entries": entries}
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode())
    except OSError as error:
        raise RunFolderError(f"cannot write {file}: {error.strerror}; choose another folder=...") from error


def finished(run: PlannedRun) -> bool:
    """Tell whether a run is at its end and was evaluated there, by its newest checkpoint, or else by its metrics.

    Tables and figures need no weights, so the checkpoints of finished runs may be removed to make room.
    """
    folder = RunFolder(run.folder)
    if folder.checkpoints.is_dir():
        state = checkpoint.state(folder.checkpoints)
        reached = None if state is None else (state["step"], Spent.from_dict(state["spent"]))
    else:
        last = next(reversed(folder.steps()), None)
        reached = None if last is None else (last["step"], Spent.from_metrics(last))
    # A run may have been stopped between its last step and the evaluation after it.
    return reached is not None and ended(*reached, run.config.train) and folder.outcomes_file(reached[0]).is_file()


def log_file(plan: Plan, run: PlannedRun) -> Path:
    """The file for a run's output."""
    return plan.folder / "logs" / f"{run.folder.name}.log"


def _same(plan: Plan, where: Path, saved: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    before, after = flat(saved), flat(now)
    if changed := change(before, after, (before.keys() | after.keys()) - FREE):
        raise ConfigError(
            f"{plan.folder} holds another comparison ({where}): {what}{changed}; set it back, or choose another "
            "folder=..."
        )
