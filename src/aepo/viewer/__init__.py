"""The viewer: a run's rollout trees and metrics as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from pathlib import Path

from aepo.training.trackers import read_metrics
from aepo.viewer.page import export
from aepo.viewer.read import Record, read_trees, tree_files

__all__ = ["Record", "export", "read_metrics", "read_trees", "tree_files", "view"]


def view(
    run_folder: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    steps: Collection[int] | None = None,
    limit: int = 200,
) -> Path:
    """Write `<run>/trees.html` (or `out`) and return its path.

    Args:
        run_folder: What `train` wrote.
        out: Another file to write.
        steps: Only these steps; all of them if None.
        limit: Most questions on the page, spread evenly over the steps; the page says how many are left out.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds no trees, or a broken file; the message names it.
    """
    folder = Path(run_folder)
    records = [r for path in tree_files(folder, steps) for r in read_trees(path)]
    shown = records
    if len(records) > limit:
        shown = [records[i * len(records) // limit] for i in range(limit)]
    note = (
        "" if len(shown) == len(records) else f"{len(shown)} of {len(records)} questions, evenly spread over the steps"
    )
    metrics = read_metrics(folder / "metrics.jsonl")
    return export(shown, out or folder / "trees.html", metrics, folder.resolve().name, note)
