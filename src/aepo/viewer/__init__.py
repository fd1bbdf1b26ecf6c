"""The viewer: a run's curves and rollout trees, on a local page or as one self-contained file."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from pathlib import Path

from aepo.files.paths import local
from aepo.runs.folder import RunFolder
from aepo.runs.metrics import read_metrics
from aepo.runs.records import Record, read_trees

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


def tree_files(folder: Path, steps: Collection[int] | None = None) -> list[Path]:
    """The tree files of a run or an evaluation, by step; only those of `steps` if given.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: The folder has no tree of these steps.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {folder}")
    found = RunFolder(folder).tree_files()
    chosen = [path for step, path in found.items() if steps is None or step in steps]
    if not chosen:
        which = "" if steps is None or not found else f" of step {', '.join(map(str, sorted(steps)))}"
        raise ValueError(f"{folder / 'trees'} holds no rollout trees{which} (step-000001.jsonl.gz and so on)")
    return chosen
