"""Runs that begin from a run with LoRA: the KL term is measured against where they began, also after a resumption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aepo import api, config
from aepo.runs.metrics import read_metrics
from tests import tiny
from tests.kept import comparable

pytest.importorskip("peft")
Go = Callable[..., Path]
LORA = "model.lora={rank: 2, alpha: 8}"
LAYOUTS = ["train.layout=tree", "train.layout=flat"]


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    def run(*overrides: str, start: Path | None = None, name: str = "run", resume: bool = False) -> Path:
        given = tiny.settings(tmp_path / name, start or model_folder, "train.minibatches=1", *overrides)
        api.train_config(config.load(None, given), resume)
        return tmp_path / name

    return run


def steps(run: Path) -> list[dict[str, Any]]:
    return [comparable(row) for row in read_metrics(run / "metrics.jsonl") if "loss" in row]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The run that others begin from."""
    folder = tmp_path_factory.mktemp("first") / "run"
    given = ["train.minibatches=1", LORA, "train.steps=2", "train.learning_rate=3e-2"]
    api.train_config(config.load(None, tiny.settings(folder, model_folder, *given)))
    return folder


@pytest.mark.parametrize("lora", [LORA, "model.lora=null"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kl_is_0_in_the_first_step_and_resumed_runs_know_their_start(
    go: Go, first: Path, layout: str, lora: str
) -> None:
    kl = ("algorithm.kl_weight=0.1", "train.checkpoint_every=1", lora, layout)
    whole = steps(go(*kl, "train.steps=3", start=first, name="whole"))
    assert abs(whole[0]["kl/reference"]) < 1e-9 < whole[1]["kl/reference"] < whole[2]["kl/reference"]
    go(*kl, "train.steps=1", start=first, name="parts")
    parts = steps(go(*kl, "train.steps=3", start=first, name="parts", resume=True))
    assert [row["kl/reference"] for row in parts] == pytest.approx([row["kl/reference"] for row in whole], abs=1e-7)


def test_a_run_does_not_follow_the_run_that_it_began_from(go: Go, tmp_path: Path) -> None:
    first = go(LORA, "train.steps=1", name="first")
    go(LORA, "train.steps=1", start=first, name="second")
    go(LORA, "train.steps=2", name="first", resume=True)
    with pytest.raises(config.ConfigError, match=r"model.path was .*step-000001/policy' and is now .*step-000002"):
        go(LORA, "train.steps=2", start=first, name="second", resume=True)
    saved = config.load(tmp_path / "second" / "config.yaml", ["train.steps=2"])
    api.train_config(saved, resume=True)
    assert [row["step"] for row in steps(tmp_path / "second")] == [1, 2]


def test_settings_that_are_not_the_adapters_leave_no_run_folder(go: Go, tmp_path: Path) -> None:
    first = go(LORA, "train.steps=1", name="first")
    with pytest.raises(ValueError, match=r"model.lora asks for rank 4, alpha 8"):
        go("model.lora={rank: 4, alpha: 8}", start=first)
    assert not (tmp_path / "run").exists()
