"""The systems that this package runs on."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDED = ("fcntl", "resource")


class UnsupportedSystem(ImportError):
    """A part of the package was asked for where it cannot work."""


def refuse_windows() -> None:
    """Refuse a system without the interfaces of POSIX that sandboxes and run folders are built on.

    Raises:
        UnsupportedSystem: It has none.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise UnsupportedSystem("aepo runs on Linux and macOS only: on Windows use WSL (wsl --install)")
