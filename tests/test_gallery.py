"""Each small task of the gallery: what is right gets the reward, its world is sound, and it trains for a step."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import aepo
from aepo import api, config
from aepo.runs.metrics import read_metrics
from aepo.types import Leaf, Origin, StopReason
from tests import tiny

FOLDER = Path(__file__).parents[1] / "examples" / "gallery"
NAMES = ("cart", "convert", "database", "documents", "guess", "table")
PAGE = Path(__file__).parents[1] / "docs" / "gallery.md"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in set(sys.modules) - before:
        if name in NAMES:
            del sys.modules[name]


def task(name: str) -> aepo.Task:
    made: aepo.Task = importlib.import_module(name).task()
    return made


def test_the_page_names_every_task() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(NAMES)
    assert all(f"examples/gallery/{name}.py" in PAGE.read_text(encoding="utf-8") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_trains_with_the_tiny_model(tmp_path: Path, name: str) -> None:
    settings = config.load(
        None, [*tiny.settings(tmp_path / "run", tiny.save_model(tmp_path / "model")), "train.steps=1"]
    )
    # One character is a token of this model, so that a description of the tools would be too long for it.
    api.train_task(settings, replace(task(name), system=""))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if "reward/mean" in row] == [1]


def reward(of: aepo.Task, sample: aepo.Sample, answer: str) -> Any:
    leaf = Leaf(0, 0, Origin.PROBE, StopReason.ANSWER, answer)
    return of.reward(sample, aepo.Trajectory(sample, [], [], [], [], 0, [], [], leaf))


@pytest.mark.parametrize("name", ["convert", "documents", "table"])
def test_the_target_gets_the_reward_and_another_answer_does_not(name: str) -> None:
    of = task(name)
    for sample in (*of.samples, *of.held_out):
        assert reward(of, sample, str(sample.target)) == 1.0
        assert reward(of, sample, "nobody knows") == 0.0


@pytest.mark.parametrize("name", ["cart", "guess", "database"])
def test_a_world_has_no_faults(name: str) -> None:
    of = task(name)
    assert aepo.check_environment(of.environment, list(of.samples)) == []


def test_the_tools_find_what_is_asked() -> None:
    convert, table = importlib.import_module("convert"), importlib.import_module("table")
    assert json.loads(convert.metres.function(3, "mile")) == pytest.approx(4828.03, abs=0.01)
    assert "Oslo" in table.find.function("person", "Grace")
    with pytest.raises(aepo.ToolError, match="unknown unit"):
        convert.metres.function(3, "cubit")


def test_worlds_reward_their_right_end() -> None:
    cart = importlib.import_module("cart").Cart()
    cart.reset(10)
    cart.add("bread")
    cart.add("cheese")
    assert cart.get_reward() == 0.0
    assert cart.pay() == "paid" and cart.get_reward() == 1.0
    guess = importlib.import_module("guess").Guess()
    guess.reset(3)
    low, high = 1, 100
    while not guess.done:
        tried = (low + high) // 2
        said = guess.guess(tried)
        low, high = (tried + 1, high) if said == "higher" else (low, tried - 1)
    assert guess.get_reward() >= 1.0
