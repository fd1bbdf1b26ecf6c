"""A wrong name of a model gets its answer at once: no library asks the hub again and again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aepo.engines.named import check_named


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("runs/typo", "there is no run runs/typo"),
        ("./nowhere", "model folder ./nowhere does not exist"),
        ("not here", "there is no folder not here, and the Hugging Face Hub shows no model not here"),
    ],
)
def test_no_hub_is_needed_to_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as refused:
        check_named(name)
    assert str(refused.value) == line


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`aepo eval nothere` in a process of its own: the hub's library reads the environment once."""
    command = [sys.executable, "-m", "aepo.cli", "eval", "nothere"]
    own = {**os.environ, "HF_HOME": str(folder / "cache"), **environment}
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("environment", "end"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids to ask the Hugging Face Hub"),
        ({"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hugging Face Hub cannot be reached"),
    ],
)
def test_without_a_network_it_is_one_line(tmp_path: Path, environment: dict[str, str], end: str) -> None:
    done = run(tmp_path, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"aepo: there is no folder nothere, and {end}\n"
