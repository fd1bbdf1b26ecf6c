"""Which installed packages a program may import: none, the host interpreter's, or those of a virtual environment."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from aepo.paths import local

HOST = "host"
"""The packages that the running interpreter has itself, its user's and its distribution's among them."""

THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Left in the environment of programs with packages: a thread per core would use up their address space."""

_KNOWN = ("numpy", "scipy", "sympy", "mpmath", "pandas", "networkx", "sklearn")


def folders(packages: str | Path | None) -> tuple[Path, ...]:
    """The folders that become readable and importable inside; everything in them does.

    Args:
        packages: None for none, "host", or the folder of a virtual environment made for this Python version.

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


def importable(packages: str | Path | None) -> list[str]:
    """The well-known ones among them, to tell a model what there is."""
    return [name for name in _KNOWN if any((folder / name).is_dir() for folder in folders(packages))]
