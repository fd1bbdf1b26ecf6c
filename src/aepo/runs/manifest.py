"""`manifest.json` of a checkpoint: its step, and the size and SHA-256 of each of its files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepo.files.folders import sync
from aepo.files.hashed import sha256_of
from aepo.files.whole import write_whole

MANIFEST = "manifest.json"
FORMAT = 1


def seal(folder: Path, step: int, hashes: Mapping[str, str]) -> None:
    """Flush the files of a folder to the disk, then write the manifest.

    Args:
        folder: The folder of the files.
        step: The step of the checkpoint.
        hashes: The SHA-256 of files by name, as far as it is known; the other files are read.

    Raises:
        OSError: The disk is full or refuses.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": hashes.get(name) or sha256_of(path)}
        sync(path)
    manifest = folder / MANIFEST
    manifest.write_bytes(_text(step, files))
    sync(manifest)
    for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        sync(path)


def damage(path: Path, step: int | None = None, part: str = "") -> str | None:
    """The damage of a folder; None if every file has the size and hash of the manifest.

    Args:
        path: The folder.
        step: The step that the manifest must have.
        part: A file, or a folder of files, if only this part is checked; "" for all.
    """
    try:
        manifest = _read(path)
        if manifest["format"] != FORMAT:
            return f"its manifest has format {manifest['format']!r}, this version reads {FORMAT}"
        if step is not None and manifest["step"] != step:
            return f"its manifest says step {manifest['step']}"
        files = {name: what for name, what in manifest["files"].items() if part in ("", name, *_folders(name))}
        if part and not files:
            return f"it has no {part}"
        for name, expected in files.items():
            size = (path / name).stat().st_size
            if size != expected["size"]:
                return f"{name} has {size} bytes instead of {expected['size']}"
            if sha256_of(path / name) != expected["sha256"]:
                return f"{name} has changed since it was written (SHA-256 differs)"
    except OSError as error:
        return f"{Path(error.filename or path).name}: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is broken"
    return None


def names(path: Path, file: str) -> bool:
    """Whether the whole manifest of a folder names a file."""
    return file in _read(path)["files"]


def drop(path: Path, file: str) -> None:
    """Take a file out of the manifest, then delete it; if this fails, the next call can try again."""
    if not (path / file).exists():
        return
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        manifest = _read(path)
        kept = {name: what for name, what in manifest["files"].items() if name != file}
        write_whole(path / MANIFEST, _text(manifest["step"], kept))
        (path / file).unlink()


def _read(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _text(step: int, files: Mapping[str, Any]) -> bytes:
    return (json.dumps({"format": FORMAT, "step": step, "files": files}, indent=1) + "\n").encode()


def _folders(name: str) -> list[str]:
    return [str(folder) for folder in Path(name).parents]
