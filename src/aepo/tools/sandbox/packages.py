"""Finds the packages that a program may import: none, the host interpreter's, or those of a virtual environment."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

from aepo.files.paths import local
from aepo.tools.sandbox.kept import kept

_log = logging.getLogger(__name__)

HOST = "host"
"""Name for the packages of the running interpreter, including its user's and its distribution's."""

THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment variables for programs with packages: one thread per core would use up their address space."""

_FONTS_SECONDS = 300.0
_KNOWN = ("numpy", "scipy", "sympy", "mpmath", "pandas", "networkx", "sklearn")


def folders(packages: str | Path | None) -> tuple[Path, ...]:
    """Find the folders to show inside the sandbox; everything in them can be read and imported.

    Args:
        packages: None for no packages, "host", or the folder of a virtual environment for this Python version.

    Raises:
        ValueError: There is no such environment, or it is for another version of Python.
    """
    if packages is None:
        return ()
    if packages == HOST:
        paths = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
        paths += [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
        return tuple(dict.fromkeys(Path(path).resolve() for path in paths if Path(path).is_dir()))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [local(packages).resolve() / lib / version / "site-packages" for lib in ("lib", "lib64")]
    existing = tuple(dict.fromkeys(p.resolve() for p in found if p.is_dir()))
    if not existing:
        raise ValueError(
            f"{packages} is no virtual environment for {version}: no folder {found[0]}; "
            f"make it with {sys.executable} -m venv, or give 'host'"
        )
    return existing


def fonts(found: tuple[Path, ...]) -> Path | None:
    """Return the folder with matplotlib's list of fonts; None if matplotlib is not among the packages.

    The list is made once for each version of matplotlib and kept. To look at every font of the host takes seconds, and
    a list that a program makes is lost with the call.
    """
    manager = next((f for f in (p / "matplotlib" / "font_manager.py" for p in found) if f.is_file()), None)
    if manager is None:
        return None
    made = f"{manager} {manager.stat().st_mtime_ns} {sys.version}"
    try:
        folder = kept(f"matplotlib-{hashlib.sha256(made.encode()).hexdigest()[:16]}")
        if not any(folder.glob("fontlist-*.json")):
            _list_fonts(found, folder)
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("matplotlib will look for fonts in every program, which takes seconds: %s", error)
        return None
    return folder


def _list_fonts(found: tuple[Path, ...], folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="making-", dir=folder) as making:
        paths = [str(path) for path in found]
        source = f"import os, sys\nos.umask(0o022)\nsys.path += {paths}\nimport matplotlib.font_manager"
        # HOME is another folder here, so that the list leaves out the user's fonts, which programs cannot read.
        environment = {"MPLCONFIGDIR": making, "HOME": making, "XDG_DATA_HOME": making, "PATH": "/usr/bin:/bin"}
        command = [str(interpreter()), "-S", "-s", "-P", "-B", "-c", source]
        subprocess.run(command, env=environment, capture_output=True, check=True, timeout=_FONTS_SECONDS)
        for path in Path(making).glob("fontlist-*.json"):
            path.rename(folder / path.name)


@cache
def interpreter() -> Path:
    """Return the interpreter's real binary, also if this process runs in a virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def importable(packages: str | Path | None) -> list[str]:
    """List the well-known packages among them, to tell the model about them."""
    return [name for name in _KNOWN if any((folder / name).is_dir() for folder in folders(packages))]
