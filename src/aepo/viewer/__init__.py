"""The viewer: a run's curves and rollout trees, on a local page or as one self-contained file."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from pathlib import Path

from aepo.files.paths import local
from aepo.runs.metrics import read_metrics
from aepo.runs.records import Record, read_trees, tree_files

__all__ = ["Record", "read_metrics", "read_trees", "tree_files", "view"]


def view(
    run_folder: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    steps: Collection[int] = (),
    other: str | PathLike[str] | None = None,
    megabytes: float = 20.0,
) -> Path:
    """Write a run as one page, `<run>/trees.html` or `out`, and return its path; `aepo view` serves it live.

    Args:
        run_folder: Folder of a run or an evaluation.
        out: Another file to write.
        steps: Steps whose trees are shown; all if empty.
        other: A second run to show beside it.
        megabytes: Limit on the trees' data. If there is more, questions are chosen evenly, and the page says so.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It has no trees, or a broken file; the message names it.
    """
    from aepo.viewer.export import Choice, export
    from aepo.viewer.source import open_source

    sources = [open_source(local(folder)) for folder in (run_folder, other) if folder is not None]
    choice = Choice(sections=[str(step) for step in steps], megabytes=megabytes)
    return export(sources, local(out) if out is not None else local(run_folder) / "trees.html", choice)
