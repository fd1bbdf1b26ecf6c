"""A user's task of twenty lines runs on verl as it does in this process; DAPO replaces groups that teach nothing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from aepo import api, config
from tests.engines.verl.conftest import HERE, Ran, train
from tests.engines.verl.test_run import trained, trees

TASK = {"name": "own_task:capitals"}


def settings(run: str) -> dict[str, Any]:
    return {
        "run": run,
        "task": TASK,
        "model": {"path": "atlas", "dtype": "float32"},
        "algorithm": {"name": "dapo", "group_size": 4, "max_rounds": 2},
        "rollout": {"questions": 2, "max_tokens": 120, "max_tool_calls": 3},
        "train": {"steps": 2, "minibatches": 1, "learning_rate": 1e-4, "warmup": 0, "trees_every": 1},
    }


@pytest.fixture(scope="module")
def on_verl(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("verl") / "run"
    return train(folder, {key: value for key, value in settings("").items() if key != "run"})


def test_the_same_file_and_settings_run_here_and_on_verl(
    on_verl: Ran, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "path", [*sys.path, str(HERE)])
    here = api.train_config(config.parse(settings(str(tmp_path_factory.mktemp("local") / "run"))))
    assert on_verl.code == 0, on_verl.output[-5000:]
    for folder in (here.folder, on_verl.folder):
        assert sorted(trained(folder)) == [1, 2]
        for step in (1, 2):
            groups = trees(folder, step)
            assert any(node.result is not None for group in groups for node in group.tree.nodes)


def test_a_step_drops_no_more_groups_than_its_rounds_allow_and_trains_on_two(on_verl: Ran):
    for step, row in trained(on_verl.folder).items():
        assert row.get("verl/training/filter_groups/evicted_samples", 0) <= 2
        assert len(trees(on_verl.folder, step)) == 2
