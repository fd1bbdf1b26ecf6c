"""Names the folder of a run by the time at which it begins, where the configuration asks for it: `run: runs/{time}`."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from aepo.config import Config
from aepo.runs.folder import RunFolder, writing

TIME = "{time}"
_STAMP = re.compile(r"\d{8}-\d{6}(-\d+)?")
LATEST = "latest"
"""Link beside the folders that have a time in their name, to the newest."""


@contextmanager
def placed(config: Config, resume: bool) -> Iterator[Config]:
    """The configuration with the run's own folder.

    For a new run, `{time}` in the folder's name becomes the time of its start. The folder is made, so that no other run
    takes it, and `latest` beside it becomes a link to it. If nothing is written into it, all is as before. For a run
    that goes on, such a name and the link mean the newest.

    Raises:
        RunFolderError: The folder cannot be made.
    """
    if resume:
        yield _at(config, newest(Path(config.run)))
    elif TIME not in config.run:
        yield config
    else:
        absent = [parent for parent in Path(config.run).parents if not parent.exists()]
        path = _made(config.run)
        link = path.with_name(LATEST)
        before = link.readlink() if link.is_symlink() else None
        _point(link, path.name)
        try:
            yield _at(config, path)
        finally:
            with suppress(OSError):
                path.rmdir()
                _point(link, before)
                for parent in absent:
                    parent.rmdir()


def begins(run: Path) -> str | None:
    """A line that names the folder and how to go on with the run before it; None if no time is in its name."""
    if _STAMP.search(run.name) is None:
        return None
    alike = [path for path in sorted(run.parent.iterdir()) if _STAMP.sub(TIME, path.name) == _STAMP.sub(TIME, run.name)]
    kept = [RunFolder(path) for path in alike if path.name < run.name and any(path.glob("checkpoints/*"))]
    line = f"run folder {run}"
    return f"{line}; the run before it goes on with: {kept[-1].resumption()}" if kept else line


def newest(path: Path) -> Path:
    """The folder that a name with `{time}`, or the link, means."""
    link = path.with_name(LATEST) if TIME in path.name else path
    return link.parent / link.readlink() if link.is_symlink() else path


def _at(config: Config, path: Path) -> Config:
    return config.model_copy(update={"run": str(path)})


def _made(run: str) -> Path:
    """A new folder with the time in its name."""
    stamped = run.replace(TIME, time.strftime("%Y%m%d-%H%M%S"))
    for number in count(1):
        path = Path(stamped if number == 1 else f"{stamped}-{number}")
        with writing(path), suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise AssertionError("count ended")


def _point(link: Path, target: str | Path | None) -> None:
    """Make the link point to a folder beside it, or to none; a real folder of that name stays, and so does its name."""
    if link.exists() and not link.is_symlink():
        return
    with suppress(OSError):  # some file systems have no links
        if target is None:
            link.unlink()
            return
        new = link.with_name(f".{LATEST}-{os.getpid()}")
        new.symlink_to(target)
        new.replace(link)
