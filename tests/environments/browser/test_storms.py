"""Rollouts in the browser that are cancelled, killed under, and killed themselves leave nothing (a short version)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("playwright")
pytest.importorskip("miniwob", reason="pip install 'aepo-rl[miniwob]'")

ROOT = Path(__file__).parents[3]


def test_storms_a_killed_browser_and_a_killed_trainer_leave_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.world_storms", "--storms", "1", "--rollouts", "2", "--k", "2"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    done = subprocess.run([*command, "--seconds", "1"], cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    head, _, *lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines())
    storm, killed, last, ended, trainer = (dict(zip(head, line, strict=True)) for line in lines)
    for row in (storm, killed, last):
        assert (row["not closed"], row["open"]) == ("0", "0"), done.stdout
    assert storm[""] == "storm 1" and int(storm["cancelled"]) > 0, done.stdout
    # Each trajectory of that rollout ended, in the browser that was launched in place of the killed one.
    assert killed[""] == "killed amid a rollout" and int(killed["trajectories"]) >= 8, done.stdout
    for row, code in ((ended, "(exit 0)"), (trainer, "(exit -9)")):
        assert row[""].endswith(code), done.stdout
        assert [row[what] for what in ("browsers", "processes", "folders")] == ["0", "0", "0"], done.stdout
