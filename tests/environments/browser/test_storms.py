"""Rollouts in the browser that are cancelled, killed under, and killed themselves leave nothing (a short version)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("miniwob", reason="pip install 'aepo-rl[miniwob]'")

ROOT = Path(__file__).parents[3]


def test_storms_a_killed_browser_and_a_killed_trainer_leave_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.browser_storms", "--storms", "1", "--rollouts", "2", "--k", "2"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run([*command, "--seconds", "4"], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]
    storm, killed, ended, trainer = rows
    assert storm[0] == "storm 1" and int(storm[2]) > 0 and storm[5:7] == ["0", "0"], done.stdout
    # Each of the group's trajectories ended, in the browser that was launched in place of the killed one.
    assert killed[0].startswith("Chromium killed") and int(killed[3]) == 4 and killed[5:7] == ["0", "0"], done.stdout
    assert re.fullmatch(r"end of that process \(exit 0\)", ended[0]) and ended[7:] == ["0", "0", "0"], done.stdout
    assert trainer[0].endswith("(exit -9)") and trainer[7:] == ["0", "0", "0"], done.stdout
