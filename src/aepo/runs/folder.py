"""Reads the folders that runs, evaluations and solved questions leave behind; nothing is written here.

runs/<name>/
    config.yaml                  the resolved config
    task.json                    hashes of the questions and tools, and whether the task has a name
    versions.json                Python, packages, machine, git revision
    metrics.jsonl                one object a step
    instructions.jsonl           one object a step: the instructions and their worth, if there is a population
    trees/step-000010.jsonl.gz   one question a line: its tree, each token's text, the update of each token
    outcomes/step-000010.jsonl   one held-out question a line, with every sample's answer and reward
    checkpoints/step-000010/
    tensorboard/
    failures/                    trajectories that a tool's bug stopped
    tools.sqlite                 kept tool results, unless `tools.mode` is live or `tools.cache` says otherwise
    tools-spent.jsonl            what tool calls cost, a line each, if there is a budget

An evaluation on a task has `trees/` and `outcomes/` of step 0, and `report.json`. One on data sets has `settings.json`,
and a folder with `trees/` for each data set (`aepo.evaluation.folder`). A solved question has `trees/`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aepo import config as configuration
from aepo.runs.metrics import read_metrics

CONFIG = "config.yaml"


class RunFolderError(OSError):
    """A run folder cannot be used; the message gives the reason and what to do."""


class RunFolder:
    """One folder, whose files are read when they are asked for. Neither the folder nor a file need exist.

    Attributes:
        path: The folder.
        metrics_file: `metrics.jsonl`.
        instructions_file: `instructions.jsonl`.
        trees: The folder of the rollout trees, see `aepo.runs.records`.
        outcomes: The folder of the evaluations' results by question, see `aepo.evaluation.outcomes`.
        checkpoints: The folder of the checkpoints, see `aepo.runs.checkpoint`.
        failures: The folder of trajectories that tools' bugs stopped, see `aepo.runs.failures`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics_file = path / "metrics.jsonl"
        self.instructions_file = path / "instructions.jsonl"
        self.trees = path / "trees"
        self.outcomes = path / "outcomes"
        self.checkpoints = path / "checkpoints"
        self.failures = path / "failures"

    @property
    def config_file(self) -> Path | None:
        """`config.yaml`; None where there is no run."""
        file = self.path / CONFIG
        return file if file.is_file() else None

    def config(self) -> dict[str, Any]:
        """The settings that the run was started with, without defaults for newer ones.

        Raises:
            RunFolderError: There is no run.
            ConfigError: The file is broken.
        """
        if self.config_file is None:
            raise RunFolderError(f"no run in {self.path}: it has no {CONFIG}")
        return configuration.read(self.config_file)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The object in a JSON file of the folder; None if there is no such file.

        Raises:
            ValueError: The file is broken.
        """
        file = self.path / name
        if not file.is_file():
            return None
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"cannot read {file}: {error}") from None
        if not isinstance(found, dict):
            raise ValueError(f"cannot read {file}: it holds no object")
        return found

    def task(self) -> dict[str, Any]:
        """The content of `task.json`; empty for a run of an older version. Errors as of `read_json`."""
        return self.read_json("task.json") or {}

    def resumption(self) -> str:
        """The command that goes on with the run; a Python call if the task was given as an object."""
        command = f"aepo train --resume {in_shell(self.path)}"
        call = f"aepo.train(..., run={str(self.path)!r}, resume=True)"
        if self.task().get("named", True):
            return command
        # A task from Python may have been found under the name of a function, which is called without arguments.
        if ":" in str(self.config().get("task", {}).get("name")):
            return f"{command} (if its task was made with arguments: {call})"
        return f"{call}, all else as before"

    def steps(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl` of training steps; ValueError names a broken line."""
        return [row for row in read_metrics(self.metrics_file) if "budget/trajectories" in row]

    def evaluations(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl` of evaluations; ValueError names a broken line."""
        return [row for row in read_metrics(self.metrics_file) if "eval/success" in row]

    def tree_file(self, step: int) -> Path:
        """The file with the trees of a step."""
        return self.trees / f"step-{step:06d}.jsonl.gz"

    def outcomes_file(self, step: int) -> Path:
        """The file with the outcomes of the evaluation after a step."""
        return self.outcomes / f"step-{step:06d}.jsonl"

    def tree_files(self) -> dict[int, Path]:
        """The tree files by step; in an evaluation, by the number in their name."""
        return _by_step(self.trees, ".jsonl.gz")

    def outcome_files(self) -> dict[int, Path]:
        """The files with the outcomes of evaluations, by step."""
        return _by_step(self.outcomes, ".jsonl")

    def files_after(self, step: int) -> list[Path]:
        """The files with trees and outcomes of later steps."""
        files = [*self.tree_files().items(), *self.outcome_files().items()]
        return [path for at, path in files if at > step]


def in_shell(path: Path) -> str:
    """A path quoted for a shell."""
    return shlex.quote(str(path))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a disk error inside the block, while a part of a run is written, into one line.

    Raises:
        RunFolderError: An `OSError` was raised inside.
    """
    try:
        yield
    except RunFolderError:
        raise
    except OSError as error:
        at = error.filename if isinstance(error.filename, str) else path
        raise RunFolderError(
            f"cannot write {at}: {error.strerror or error}; make room, or choose a run folder that can be written"
        ) from error


def _by_step(folder: Path, suffix: str) -> dict[int, Path]:
    steps = {path: path.name.removeprefix("step-").removesuffix(suffix) for path in folder.glob(f"step-*{suffix}")}
    return dict(sorted((int(step), path) for path, step in steps.items() if step.isdecimal()))
