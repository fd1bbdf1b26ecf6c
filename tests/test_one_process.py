"""A start by torchrun is refused before anything is loaded: each process would train a policy of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepo import api
from aepo.config import ConfigError, load
from tests import tiny


@pytest.mark.parametrize("engine", ["local", "vllm"])
def test_torchrun_is_refused_with_the_way_to_verl(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = load(None, [f"engine={engine}", "model.path=none", f"run={tmp_path / 'run'}"])
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match=rf"4 processes were started .*engine {engine} trains in one.*engine: verl"):
        api.train_task(config, tiny.letters())
    assert not (tmp_path / "run").exists()


def test_torchrun_with_one_process_is_no_other_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    model = tiny.save_model(tmp_path / "model")
    api.train_task(load(None, [*tiny.settings(tmp_path / "run", model), "train.steps=1"]), tiny.letters())
    assert (tmp_path / "run" / "metrics.jsonl").exists()
