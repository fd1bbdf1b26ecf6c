"""The systems that this package runs on."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDED = ("fcntl", "resource")


class UnsupportedSystem(ImportError):
    """The package does not work on this system."""


def refuse_windows() -> None:
    """Refuse a system without the POSIX interfaces that sandboxes and run folders need.

    Raises:
        UnsupportedSystem: It is Windows.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise UnsupportedSystem("aepo runs on Linux and macOS only: on Windows use WSL (wsl --install)")
