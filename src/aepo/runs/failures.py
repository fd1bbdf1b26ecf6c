"""`failures/` of a run folder: trajectories that a tool's bug stopped."""

from __future__ import annotations

import json
import re
import traceback
from pathlib import Path

from aepo.files.whole import write_whole
from aepo.rollout.explorer import RolloutError
from aepo.runs.folder import RunFolder, refusal
from aepo.runs.trees import plain
from aepo.types import Group


def save_failure(folder: RunFolder, group: Group, text: str) -> Path:
    """Save the group of a question that a tool's bug stopped; earlier ones are never overwritten.

    Args:
        folder: The run folder.
        group: The question and its tree, with leaves only for ended paths.
        text: The error, e.g. a traceback.

    Raises:
        RunFolderError: The disk is full or refuses.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", group.sample.id)[:80].lstrip(".") or "sample"
    try:
        folder.failures.mkdir(parents=True, exist_ok=True)
        number = 1
        while (path := folder.failures / f"{name}-{number}.json").exists():
            number += 1
        write_whole(path, json.dumps({"error": text, **plain(group)}, indent=1, default=str).encode() + b"\n")
    except OSError as error:
        raise refusal(folder.failures, error) from error
    return path


def keep_failure(folder: RunFolder, error: RolloutError) -> None:
    """Save the group of a `RolloutError` with the traceback, and add its place to the error as a note.

    Raises:
        RunFolderError: The disk is full or refuses.
    """
    trace = "".join(traceback.format_exception(error.original))
    error.add_note(f"the trajectory is kept in {save_failure(folder, error.group, trace)}")
