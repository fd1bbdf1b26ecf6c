"""Trackers that are services: Weights & Biases, trackio and MLflow, through the classes of `accelerate`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from aepo.files.whole import write_whole

SERVICES = ("wandb", "trackio", "mlflow")
PROJECT = "aepo"
"""The name of the project, or experiment, that runs are in."""
KEPT = "trackers.json"
"""The file of a run folder with the run's id at each service, so that a resumed run goes on there."""


class ServiceTracker:
    """Sends numbers to a service. Accounts, addresses and offline modes are set by the service's own variables.

    Args:
        name: One of `SERVICES`.
        folder: The run folder; its name is the run's.
        settings: All settings of the run, by dotted key.

    Raises:
        ValueError: A package is not installed, or the service refuses.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            tracking = import_module("accelerate.tracking")
            import_module(name)
            # Its logger asks whether this is the main process.
            import_module("accelerate").PartialState()
        except ImportError as error:
            raise ValueError(
                f'tracker "{name}" needs the package {error.name}: pip install "aepo-rl[{name}]"'
            ) from error
        file = folder / KEPT
        ids = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        run = folder.name
        if name == "mlflow":
            self._tracker = tracking.MLflowTracker(PROJECT, run_id=ids.get(name), run_name=run)
        else:
            given = ids.setdefault(name, uuid.uuid4().hex[:8])
            if name == "wandb":
                self._tracker = tracking.WandBTracker(PROJECT, id=given, name=run, resume="allow", dir=str(folder))
            else:
                self._tracker = tracking.TrackioTracker(PROJECT, name=f"{run}-{given}", resume="allow")
        try:
            self._tracker.start()
        except Exception as error:  # each service raises its own
            why = " ".join(str(error).split())
            raise ValueError(f'tracker "{name}" does not start: {why}; or leave it out of train.trackers') from error
        if name == "mlflow":
            ids[name] = self._tracker.tracker.info.run_id
        write_whole(file, json.dumps(ids).encode())
        self._tracker.store_init_configuration({key: _plain(value) for key, value in settings.items()})

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Send the numbers of one step; histograms stay in `metrics.jsonl`."""
        self._tracker.log({name: float(value) for name, value in metrics.items() if _is_number(value)}, step=step)

    def close(self) -> None:
        """Send what is pending, and end the run there."""
        self._tracker.finish()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)
