"""Writes checkpoints atomically: into another folder first, hashed, then renamed into place.

`<folder>/step-000123/` holds the caller's files and `manifest.json` with each file's size and SHA-256. A killed process
leaves at most a folder `.tmp-*`, which the next `save` removes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
STATE = "state.json"
MANIFEST_FORMAT = 1
_NAME = re.compile(r"step-(\d+)(\.old)?")
# If a write fails with fewer bytes free than this, the disk is taken to be full, whatever the error says.
_FULL = 1 << 20


class CheckpointError(OSError):
    """A checkpoint could not be written; earlier ones are unchanged."""


class CheckpointWarning(UserWarning):
    """A checkpoint is damaged and was skipped."""


def save(folder: Path, step: int, write: Callable[[Path], None], keep: int = 2) -> Path:
    """Write a checkpoint atomically, and delete the oldest ones.

    Checkpoints of later steps are kept. If the same step is saved again, it replaces the earlier checkpoint.

    Args:
        folder: Folder of the checkpoints; made if missing. Only one process at a time may write there.
        step: The last step before the checkpoint.
        write: Writes the checkpoint's files into the empty folder that it is given.
        keep: Number of checkpoints to keep up to this step, this one included.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: The disk is full or refuses; the unfinished files are removed.
        ValueError: `keep` is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}, at least the checkpoint just written must be kept")
    final, aside = folder / f"step-{step:06d}", folder / f".tmp-{step}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        aside.mkdir()
        write(aside)
        _seal(aside, step)
        _put_in_place(aside, final)
    except BaseException as error:
        reason = _disk_reason(folder, error)
        shutil.rmtree(aside, ignore_errors=True)
        if reason is None:
            raise
        raise CheckpointError(_refusal(folder, final.name, reason)) from error
    for path in _checkpoints(folder, up_to=step)[keep:]:
        _remove(path)
    return final


def latest(folder: Path) -> Path | None:
    """The newest undamaged checkpoint, None if there is none.

    Damaged or incomplete ones are skipped with a `CheckpointWarning` that names them.
    """
    for path in _checkpoints(folder):
        reason = damage(path)
        if reason is None:
            return path
        warnings.warn(f"checkpoint {path} is passed over: {reason}", CheckpointWarning, stacklevel=2)
    return None


def state(folder: Path) -> dict[str, Any] | None:
    """What the newest whole checkpoint of a run says of the run beside its weights; None without one."""
    newest = latest(folder)
    return None if newest is None else json.loads((newest / STATE).read_text(encoding="utf-8"))


def damage(path: Path) -> str | None:
    """The damage of a checkpoint, None if every file has the size and hash of its manifest."""
    name = _NAME.fullmatch(path.name)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != MANIFEST_FORMAT:
            return f"its manifest has format {manifest['format']!r}, this version reads {MANIFEST_FORMAT}"
        if name and manifest["step"] != int(name[1]):
            return f"its manifest says step {manifest['step']}"
        for file, expected in manifest["files"].items():
            size = (path / file).stat().st_size
            if size != expected["size"]:
                return f"{file} has {size} bytes instead of {expected['size']}"
            if _sha256(path / file) != expected["sha256"]:
                return f"{file} has changed since it was written (SHA-256 differs)"
    except OSError as error:
        return f"{Path(error.filename or path).name}: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is broken"
    return None


def _checkpoints(folder: Path, up_to: int | None = None) -> list[Path]:
    """Checkpoints, the newest first; a replaced one (`.old`) comes after its replacement."""
    found = [(int(m[1]), m[2] is None, path) for path in folder.glob("step-*") if (m := _NAME.fullmatch(path.name))]
    return [path for step, _, path in sorted(found, reverse=True) if up_to is None or step <= up_to]


def _seal(aside: Path, step: int) -> None:
    """Sync the files to the disk, then write the manifest."""
    files = {}
    for path in sorted(p for p in aside.rglob("*") if p.is_file()):
        files[path.relative_to(aside).as_posix()] = {"size": path.stat().st_size, "sha256": _sha256(path)}
        _sync(path)
    manifest = aside / MANIFEST
    manifest.write_text(json.dumps({"format": MANIFEST_FORMAT, "step": step, "files": files}, indent=1) + "\n")
    _sync(manifest)
    for path in [*(p for p in aside.rglob("*") if p.is_dir()), aside]:
        _sync(path)


def _put_in_place(aside: Path, final: Path) -> None:
    if not final.exists():
        os.rename(aside, final)
        _sync(final.parent)
        return
    # Two folders cannot be swapped atomically. Until the new one is in place, `latest` finds the old one by `.old`.
    old = final.with_name(final.name + ".old")
    if old.exists():
        _remove(old)
    os.rename(final, old)
    try:
        os.rename(aside, final)
    except OSError:
        os.rename(old, final)
        raise
    _sync(final.parent)
    _remove(old)


def _remove(path: Path) -> None:
    """Delete a checkpoint without leaving half of it in view; files that cannot be deleted wait for the next time."""
    gone = path.with_name(f".tmp-removed-{path.name}")
    with contextlib.suppress(OSError):
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(path, gone)
        shutil.rmtree(gone)


def _sweep(folder: Path) -> None:
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)
    for old in folder.glob("step-*.old"):
        new = old.with_suffix("")
        if new.exists() and damage(new) is None:
            _remove(old)


def _refusal(folder: Path, name: str, reason: str) -> str:
    good = next((path for path in _checkpoints(folder) if damage(path) is None), None)
    kept = f"the last good one, {good.name}, is kept" if good else "there is no earlier one"
    return f"cannot write checkpoint {name} in {folder}: {reason}; make room or give another run folder ({kept})"


def _disk_reason(folder: Path, error: BaseException) -> str | None:
    """Why the disk refused, in a few words; None if the error has another cause."""
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    # torch and safetensors report a full disk by exceptions of their own.
    if isinstance(error, Exception) and ("No space left" in str(error) or _is_full(folder)):
        return os.strerror(errno.ENOSPC)
    return None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _FULL
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot sync a folder, but they keep the order of renames.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)
