"""Makes the folder of a new run, or opens that of a run that goes on; one process at a time writes a run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from aepo.config import Config, dump, parse
from aepo.files.whole import UNFINISHED, write_whole
from aepo.runs.folder import CONFIG, RunFolder, RunFolderError, in_shell, writing
from aepo.runs.resumed import same_run, same_task
from aepo.runs.versions import environment
from aepo.tasks.base import Task
from aepo.tasks.identity import identity, reward_of, told


@contextmanager
def run_folder(config: Config, task: Task, named: bool, resume: bool) -> Iterator[RunFolder]:
    """The folder of a run, which no other process can write inside the block.

    Args:
        config: The run's configuration.
        task: The run's task.
        named: Whether `config.task` finds this task; then commands can go on with the run.
        resume: Go on with the run of that folder.

    Raises:
        RunFolderError: There is no run to go on with, or another one; another process is writing it; or it cannot be
            written.
        ConfigError: The run that goes on had another setting, question or tool.
    """
    kept, settings = (
        {"named": named, "told": told(task), "reward": reward_of(task), **identity(task)},
        config.model_dump(mode="json"),
    )
    if not resume:
        versions = {**environment(), "tools": {tool.name: dict(tool.details) for tool in task.tools}}
        with begun(Path(config.run), settings, versions, kept) as folder:
            yield folder
        return
    folder = RunFolder(Path(config.run))
    with locked(folder):
        before = folder.config()
        same_run(parse(before), config)
        if same_task(folder, kept):
            _keep(folder, "task.json", kept)
        if before != settings:
            # The next resumption needs the changed settings, e.g. more steps.
            write_whole(folder.path / CONFIG, dump(config).encode())
        yield folder


@contextmanager
def begun(
    path: Path, config: Mapping[str, Any], versions: Mapping[str, Any], task: Mapping[str, Any]
) -> Iterator[RunFolder]:
    """Make the folder of a new run and write its settings; the folder of a run that left nothing is used again.

    Args:
        path: The folder, which is made with its parents.
        config: The resolved config, as plain values.
        versions: The content of `versions.json`.
        task: The content of `task.json`.

    Raises:
        RunFolderError: The folder holds another run, is used by another process, or cannot be written.
    """
    folder = RunFolder(path)
    with writing(path):
        check_free(folder)
        for part in (path, folder.trees, folder.checkpoints):
            part.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        with writing(path):
            write_whole(path / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).encode())
            _keep(folder, "versions.json", versions)
            _keep(folder, "task.json", task)
            folder.metrics_file.touch()
        yield folder


def check_free(folder: RunFolder) -> None:
    """Check that a new run may begin in the folder: an earlier one left no metric, tree, checkpoint or failure.

    Raises:
        RunFolderError: The folder holds another run.
    """
    parts = (folder.trees, folder.checkpoints, folder.failures)
    logged = folder.metrics_file.is_file() and folder.metrics_file.stat().st_size > 0
    if logged or any(part.is_dir() and any(part.iterdir()) for part in parts):
        raise RunFolderError(
            f"{folder.path} holds another run: go on with {folder.resumption()}, or choose another run folder, "
            f"e.g. run={in_shell(_next(folder.path))}"
        )


def _next(path: Path) -> Path:
    """A folder beside this one that does not exist."""
    names = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(name for name in names if not name.exists())


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Keep other processes from writing a run inside the block.

    Raises:
        RunFolderError: Another process is writing it, or it cannot be written.
    """
    with writing(folder.path):
        lock = (folder.path / ".lock").open("a")
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise RunFolderError(
                f"another process is writing {folder.path}: stop it, or choose another folder"
            ) from None
        except OSError:
            # Some network file systems have no locks; then two processes are not detected.
            pass
        yield


def add_version(folder: RunFolder, name: str, value: Any) -> None:
    """Add to `versions.json` a value that is known only after the run has begun."""
    _keep(folder, "versions.json", {**(folder.read_json("versions.json") or {}), name: value})


def drop_after(folder: RunFolder, step: int) -> None:
    """Delete trees and outcomes of later steps, because a run that is resumed after `step` samples them again.

    What a killed process has left half written is deleted too.
    """
    unfinished = [path for part in (folder.trees, folder.outcomes) for path in part.glob(f"{UNFINISHED}*")]
    for path in (*folder.files_after(step), *unfinished):
        path.unlink(missing_ok=True)


def _keep(folder: RunFolder, name: str, value: Mapping[str, Any]) -> None:
    write_whole(folder.path / name, (json.dumps(value, indent=1) + "\n").encode())
