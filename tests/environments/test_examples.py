"""The examples of worlds run, and their worlds can be checked, where their packages are installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

import aepo

FOLDER = Path(__file__).parents[2] / "examples" / "worlds"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    # A world in another process is found by the name of its module.
    sys.modules[name] = example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_babyai_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("minigrid", reason="pip install gymnasium minigrid")
    example = load("babyai")
    rewards = [example.play(seed) for seed in range(12)]
    assert any(rewards) and not all(rewards)
    assert "go to the" in (said := capsys.readouterr().out) and "Actions: left, right, forward, pick" in said
    task = example.task(2)
    assert aepo.check_environment(task.environment, task.samples, calls=12) == []


def test_text_games_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textworld_express", reason="pip install textworld-express")
    if shutil.which("java") is None:
        pytest.skip("no Java")
    monkeypatch.syspath_prepend(FOLDER)
    example = load("text_games")
    assert 0.0 <= example.play(1, steps=5) <= 1.0
    task = example.task(1)
    assert aepo.check_environment(task.environment, task.samples, calls=4) == []


def test_interactive_fiction_says_what_it_needs() -> None:
    example = load("interactive_fiction")
    environment = example.task("no such story").environment
    assert environment.snapshots and [tool.name for tool in environment.tools] == ["act"]
