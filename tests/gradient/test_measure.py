"""`aepo gradient` on a small model: gradients are those of the objective, methods with equal rules share rollouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from aepo import config, tasks
from aepo.algorithms import AEPO, GRPO
from aepo.cli import main
from aepo.gradient.measure import Amount
from aepo.gradient.methods import GradientMethod
from aepo.gradient.report import rows
from aepo.gradient.run import measure
from aepo.rollout.explorer import explore
from aepo.types import Sample
from tests import tiny

SMALL = Amount(batches=3, reference=3, pilot=1, questions=3)


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> config.Config:
    return config.load(None, tiny.settings(tmp_path / "run", model_folder, "train.threads=1"))


def test_methods_with_equal_rules_share_batches_and_the_policy_does_not_change(settings: config.Config) -> None:
    k = settings.algorithm.group_size
    told: list[str] = []
    compared = [
        GradientMethod("grpo", GRPO(group_size=k)),
        GradientMethod("twin", GRPO(group_size=k)),
        GradientMethod("aepo", AEPO(group_size=k)),
        GradientMethod("path", AEPO(group_size=k, leaf_weights="path", entropy_weight=0.0)),
    ]
    found = measure(settings, compared, SMALL, told.append)
    assert told[-1] == "3 of 3 batches of each method" and found.batches == 3
    for key in ("reward", "plain"), ("group std", "adam"):
        for one, other in zip(found.gradients[*key, "grpo"], found.gradients[*key, "twin"], strict=True):
            assert torch.equal(one, other)
    assert found.calls["aepo"] == found.calls["path"] != found.calls["grpo"]
    again = measure(settings, compared[:1], replace(SMALL, advantages=("reward",)), told.append)
    assert again.reference.keys() == {("reward", "plain"), ("reward", "adam")}
    assert len(rows(again, compared[:1], draws=20)) == 2
    assert torch.equal(torch.stack(again.reference["reward", "plain"]), torch.stack(found.reference["reward", "plain"]))
    table = rows(found, compared, draws=50)
    assert len(table) == 4 * len(compared)
    assert table[0]["by_first"]["call"][0] == 1.0 or table[0]["signal"] <= 0 or table[0]["signal"] != table[0]["signal"]


@pytest.mark.parametrize("held_out", [False, True])
def test_it_asks_questions_of_training_or_of_the_evaluation(
    settings: config.Config, monkeypatch: pytest.MonkeyPatch, held_out: bool
) -> None:
    asked: set[str] = set()

    def recorded(samples: Sequence[Sample], *rest: Any) -> Any:
        asked.update(sample.question for sample in samples)
        return explore(samples, *rest)

    monkeypatch.setattr("aepo.gradient.measure.explore", recorded)
    measure(settings, [GradientMethod("grpo", GRPO(group_size=2))], SMALL, print, held_out=held_out)
    task = tasks.load(settings.task.name, settings.task.options)
    assert asked <= {sample.question for sample in (task.held_out if held_out else task.samples)}
    assert not asked & {sample.question for sample in (task.samples if held_out else task.held_out)}


def test_too_little_time_is_said(settings: config.Config) -> None:
    with pytest.raises(ValueError, match="too short for two batches"):
        measure(
            settings, [GradientMethod("grpo", GRPO())], Amount(batches=3, pilot=1, questions=2, minutes=1e-9), print
        )


def test_the_command_prints_a_table_and_keeps_the_figures(
    settings: config.Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")), encoding="utf-8")
    out = tmp_path / "found.json"
    assert main(["gradient", str(file), "--batches", "2", "--questions", "2", "--out", str(out)]) == 0
    shown = capfd.readouterr().out
    assert "reward, plain" in shown and "group std, adam" in shown and "aepo, path, mixed" in shown
    assert {row["method"] for row in json.loads(out.read_text())} >= {"grpo", "aepo, as given"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--batches", "1"], "--batches is 1: signal and noise need at least 2"),
        (["--minutes", "0"], "--minutes is 0.0: give a number above 0"),
        (["engine=verl"], "gradients are taken where the policy is trained"),
    ],
)
def test_bad_input_is_one_line(words: list[str], line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["gradient", *words]) == 2
    assert line in capfd.readouterr().err
