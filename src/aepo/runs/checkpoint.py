"""Writes checkpoints atomically: into another folder first, hashed, then renamed into place.

`<folder>/step-000123/` holds the caller's files and the manifest (`aepo.runs.manifest`). A killed process leaves at
most a folder `.tmp-*`, which the next `save` removes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aepo.files.folders import put_in_place, remove
from aepo.runs import manifest

POLICY = "policy"
OPTIMIZER = "optimizer.pt"
STATE = "state.json"
_NAME = re.compile(r"step-(\d+)(\.old)?")
# If a write fails with fewer bytes free than this, the disk counts as full, even if the error says something else.
_FULL = 1 << 20


class CheckpointError(OSError):
    """A checkpoint could not be written; earlier ones are unchanged."""


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged and was skipped."""


def save(
    folder: Path,
    step: int,
    write: Callable[[Path], Mapping[str, str] | None],
    keep: int = 2,
    keep_optimizer: int | None = None,
) -> Path:
    """Write a checkpoint atomically, and delete the oldest ones.

    Checkpoints of later steps are kept. If the same step is saved again, it replaces the earlier checkpoint.

    Args:
        folder: Folder of the checkpoints; made if missing. Only one process at a time may write there.
        step: The last step before the checkpoint.
        write: Writes the checkpoint's files into the empty folder that it is given. It may return the SHA-256 of files
            that it has hashed while writing, by name; the others are read once more.
        keep: The number of checkpoints to keep up to this step, this one included.
        keep_optimizer: The number of them that keep their optimizer; None for all.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: The disk is full or refuses; the unfinished files are removed.
        ValueError: `keep` or `keep_optimizer` is below 1.
    """
    for name, number in (("keep", keep), ("keep_optimizer", keep_optimizer)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number}, at least the checkpoint just written must be kept")
    final, aside = folder / f"step-{step:06d}", folder / f".tmp-{step}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        aside.mkdir()
        manifest.seal(aside, step, write(aside) or {})
        put_in_place(aside, final)
    except BaseException as error:
        reason = _disk_reason(folder, error)
        shutil.rmtree(aside, ignore_errors=True)
        if reason is None:
            raise
        raise CheckpointError(_refusal(folder, final.name, reason)) from error
    kept = _checkpoints(folder, up_to=step)
    for path in kept[keep:]:
        remove(path)
    for path in kept[keep_optimizer or keep : keep]:
        manifest.drop(path, OPTIMIZER)
    return final


def verl_step(folder: Path) -> int | None:
    """The step of the newest whole checkpoint of engine verl in a folder; None if there is none."""
    try:
        return int((folder / "latest_checkpointed_iteration.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def latest(folder: Path, part: str = "") -> Path | None:
    """The newest undamaged checkpoint; None if there is none.

    Damaged or incomplete ones are skipped with a `CheckpointWarning` that names them.

    Args:
        folder: The folder of the checkpoints.
        part: A file, or a folder of files, if only this part is needed; only it is read then. "" for all.
    """
    for path in _checkpoints(folder):
        if (reason := damage(path, part)) is None:
            return path
        _pass_over(path, reason)
    return None


def resumable(folder: Path) -> Path | None:
    """The newest undamaged checkpoint that has its optimizer; None if none is undamaged.

    Raises:
        ValueError: There are undamaged checkpoints, but none has its optimizer.
    """
    without = None
    for path in _checkpoints(folder):
        if (reason := damage(path)) is not None:
            _pass_over(path, reason)
        elif manifest.names(path, OPTIMIZER):
            return path
        else:
            without = without or path
    if without is not None:
        raise ValueError(
            f"no whole checkpoint in {folder} has its optimizer, which train.keep_optimizer keeps for the newest: "
            f"start another run from the policy of {without.name} with model.path={folder.parent}"
        )
    return None


def state(folder: Path) -> dict[str, Any] | None:
    """The state of the run in its newest checkpoint, without the weights, which are not read; None without one."""
    newest = latest(folder, STATE)
    return None if newest is None else read_state(newest)


def read_state(path: Path) -> dict[str, Any]:
    """The state of the run in a checkpoint."""
    found: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    return found


def damage(path: Path, part: str = "") -> str | None:
    """The damage of a checkpoint, or of the part of it that `latest` would need; None if there is none."""
    name = _NAME.fullmatch(path.name)
    return manifest.damage(path, int(name[1]) if name else None, part)


def _pass_over(path: Path, reason: str) -> None:
    warnings.warn(f"checkpoint {path} is passed over: {reason}", CheckpointWarning, stacklevel=3)


def _checkpoints(folder: Path, up_to: int | None = None) -> list[Path]:
    """The checkpoints, the newest first; a replaced one (`.old`) comes after its replacement."""
    found = [(int(m[1]), m[2] is None, path) for path in folder.glob("step-*") if (m := _NAME.fullmatch(path.name))]
    return [path for step, _, path in sorted(found, reverse=True) if up_to is None or step <= up_to]


def _sweep(folder: Path) -> None:
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)
    for old in folder.glob("step-*.old"):
        new = old.with_suffix("")
        if new.exists() and damage(new) is None:
            remove(old)


def _refusal(folder: Path, name: str, reason: str) -> str:
    good = next((path for path in _checkpoints(folder) if damage(path) is None), None)
    kept = f"the last good one, {good.name}, is kept" if good else "there is no earlier one"
    return f"cannot write checkpoint {name} in {folder}: {reason}; make room or give another run folder ({kept})"


def _disk_reason(folder: Path, error: BaseException) -> str | None:
    """The reason why the disk refused, in a few words; None if the error has another cause."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    # torch and safetensors report a full disk by their own exceptions.
    if isinstance(error, Exception) and ("No space left" in str(error) or _is_full(folder)):
        return os.strerror(errno.ENOSPC)
    return None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL
    except OSError:
        return False
