"""Runs `aepo export`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def export(run: Positional[Path], out: Positional[Path], /) -> None:
    """Write the newest policy of a run that verl trained as a Hugging Face folder, e.g. for `aepo eval`.

    Args:
        run: Folder of the run.
        out: Folder of the model; it must not exist yet.
    """
    from aepo.engines.verl.export import export as write

    print(f"{write(run, out)} -> {out}")
