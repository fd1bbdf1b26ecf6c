"""`failures/` of a run folder: trajectories that a tool's bug stopped."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from aepo.files.whole import write_whole
from aepo.rollout.explorer import RolloutError
from aepo.runs.folder import RunFolder, writing
from aepo.runs.trees import as_json, parts
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
    with writing(folder.failures):
        folder.failures.mkdir(parents=True, exist_ok=True)
        paths = (folder.failures / f"{name}-{number}.json" for number in count(1))
        path = next(path for path in paths if not path.exists())
        write_whole(path, as_json({"error": text, **parts(group)}, indent=1).encode() + b"\n")
    return path


@contextmanager
def failures_kept(folder: RunFolder) -> Iterator[None]:
    """Save a trajectory that meets a tool's bug inside the block, with the traceback; the error's note names the file.

    Raises:
        RolloutError: A tool has a bug.
        RunFolderError: The disk is full or refuses.
    """
    try:
        yield
    except RolloutError as error:
        trace = "".join(traceback.format_exception(error.original))
        error.add_note(f"the trajectory is kept in {save_failure(folder, error.group, trace)}")
        raise
