"""`aepo view`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def view(run: Positional[Path], /, out: Path | None = None) -> None:
    """Write a run's rollout trees and curves as one self-contained page.

    Args:
        run: Folder of a run.
        out: The page; by default trees.html in the run's folder.
    """
    from aepo.viewer import view as write

    print(write(run, out))
