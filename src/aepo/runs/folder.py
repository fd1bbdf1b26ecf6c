"""A run's folder, with all files of the run.

runs/<name>/
    config.yaml                  the resolved config
    task.json                    hashes of the questions and tools, and whether the task has a name
    versions.json                Python, packages, machine, git revision
    metrics.jsonl                one object a step
    trees/step-000010.jsonl.gz   one question a line: its tree, each token's text, the update of each token
    outcomes/step-000010.jsonl   one held-out question a line, with every sample's answer and reward
    checkpoints/step-000010/
    tensorboard/
    failures/                    trajectories that a tool's bug stopped
    tools.sqlite                 kept tool results, unless `tools.mode` is live or `tools.cache` says otherwise
    tools-spent.jsonl            what tool calls cost, a line each, if there is a budget
"""

from __future__ import annotations

import fcntl
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import yaml

from aepo.files.whole import write_whole
from aepo.runs.versions import environment

CONFIG = "config.yaml"
_STEP_FILE = re.compile(r"step-(\d+)\.jsonl(\.gz)?")


class RunFolderError(OSError):
    """A run folder cannot be used; the message gives the reason and what to do."""


class RunFolder:
    """The paths of one run, its settings and its lock.

    Attributes:
        path: The folder of the run.
        config_file: `config.yaml`.
        versions_file: `versions.json`.
        task_file: `task.json`.
        metrics_file: `metrics.jsonl`, see `aepo.runs.metrics`.
        trees: The folder of the rollout trees, see `aepo.runs.trees`.
        outcomes: The folder of the evaluations' results by question, see `aepo.evaluation.outcomes`.
        checkpoints: The folder of the checkpoints, see `aepo.runs.checkpoint`.
        failures: The folder of trajectories that tools' bugs stopped, see `aepo.runs.failures`.
    """

    def __init__(self, path: Path) -> None:
        """Use `create`, `open` or `resume` instead, which check the folder."""
        self.path = path
        self.config_file = path / CONFIG
        self.versions_file = path / "versions.json"
        self.task_file = path / "task.json"
        self.metrics_file = path / "metrics.jsonl"
        self.trees = path / "trees"
        self.outcomes = path / "outcomes"
        self.checkpoints = path / "checkpoints"
        self.failures = path / "failures"
        self._lock: TextIO | None = None

    @classmethod
    def create(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        *,
        versions: Mapping[str, Any] | None = None,
        task: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Make the folder of a new run and write its settings.

        If a run started in the folder but left no metric, tree or checkpoint, the folder is used again.

        Args:
            path: The folder, which is made with its parents.
            config: The resolved config, as plain values.
            versions: The content of `versions.json`; by default `environment()`.
            task: The content of `task.json`, if any.

        Raises:
            RunFolderError: The folder holds another run, is used by another process, or cannot be written.
        """
        folder = cls(Path(path))
        with writing(folder.path):
            folder.check_free()
            for part in (folder.path, folder.trees, folder.checkpoints):
                part.mkdir(parents=True, exist_ok=True)
            folder._acquire()
            text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
            write_whole(folder.config_file, text.encode())
            found = environment() if versions is None else versions
            write_whole(folder.versions_file, (json.dumps(found, indent=1) + "\n").encode())
            if task is not None:
                folder.keep_task(task)
            folder.metrics_file.touch()
        return folder

    def check_free(self) -> None:
        """Check that a new run may begin in a folder; call it before the model is loaded.

        Raises:
            RunFolderError: The folder holds another run.
        """
        if self._holds_a_run():
            raise RunFolderError(
                f"{self.path} holds another run: go on with {self.resumption()}, or choose another run folder"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of an existing run to read it.

        Raises:
            RunFolderError: There is no run.
        """
        folder = cls(Path(path))
        if not folder.config_file.is_file():
            raise RunFolderError(f"no run in {folder.path}: it has no config.yaml")
        return folder

    @classmethod
    def resume(cls, path: str | Path) -> RunFolder:
        """Open the folder of an existing run to go on with it.

        Raises:
            RunFolderError: There is no run, another process is writing it, or it cannot be written.
        """
        folder = cls.open(path)
        with writing(folder.path):
            folder._acquire()
        return folder

    def close(self) -> None:
        """Release the lock on the run; a second call does nothing."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def add_version(self, name: str, value: Any) -> None:
        """Add to `versions.json` a value that is known only after the run has begun."""
        known = json.loads(self.versions_file.read_text(encoding="utf-8")) | {name: value}
        write_whole(self.versions_file, (json.dumps(known, indent=1) + "\n").encode())

    def keep_task(self, task: Mapping[str, Any]) -> None:
        """Write `task.json`; an `OSError` is passed on."""
        write_whole(self.task_file, (json.dumps(task, indent=1) + "\n").encode())

    def task(self) -> dict[str, Any]:
        """The content of `task.json`; empty for a run of an older version.

        Raises:
            RunFolderError: The file is broken.
        """
        if not self.task_file.is_file():
            return {}
        try:
            task = json.loads(self.task_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"cannot read {self.task_file}: {error}") from error
        return task if isinstance(task, dict) else {}

    def resumption(self) -> str:
        """The command that goes on with the run; a Python call if the task was given as an object."""
        if self.task().get("named", True):
            return f"aepo train --resume {in_shell(self.path)}"
        return f"aepo.train(..., run={str(self.path)!r}, resume=True), all else as before"

    def outcomes_file(self, step: int) -> Path:
        """The file with the outcomes of the evaluation after a step."""
        return self.outcomes / f"step-{step:06d}.jsonl"

    def config(self) -> dict[str, Any]:
        """The settings that the run was started with.

        Raises:
            RunFolderError: The file is broken.
        """
        try:
            config = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunFolderError(f"cannot read {self.config_file}: {' '.join(str(error).split())}") from error
        if not isinstance(config, dict):
            raise RunFolderError(f"{self.config_file} holds no config")
        return config

    def truncate_after(self, step: int) -> None:
        """Delete trees and outcomes of later steps, because a run that is resumed after `step` samples them again."""
        for path in (*self.trees.glob("step-*"), *self.outcomes.glob("step-*")):
            if (name := _STEP_FILE.fullmatch(path.name)) and int(name[1]) > step:
                path.unlink(missing_ok=True)

    def _holds_a_run(self) -> bool:
        if self.metrics_file.is_file() and self.metrics_file.stat().st_size > 0:
            return True
        parts = (self.trees, self.checkpoints, self.failures)
        return any(part.is_dir() and any(part.iterdir()) for part in parts)

    def _acquire(self) -> None:
        self._lock = (self.path / ".lock").open("a")
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            self.close()
            raise RunFolderError(f"another process is writing {self.path}: stop it, or choose another folder") from None
        except OSError:
            # Some network file systems have no locks; then two processes are not detected.
            pass


def config_of(path: Path) -> Path | None:
    """The configuration of the run in a folder; None where there is no run."""
    file = path / CONFIG
    return file if file.is_file() else None


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
