"""What is refused before anything starts, in one line that says the way out."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

import aepo
from aepo import api
from aepo.config import Config, ConfigError, parse
from aepo.engines.prompts import longest_prompt
from aepo.engines.verl import launch
from aepo.engines.verl.export import export, newest

ATLAS = {"name": "atlas", "options": {"size": 20, "held_out": 2}}


def config(run: Path) -> Config:
    return parse({"engine": "verl", "run": str(run), "task": ATLAS, "rollout": {"questions": 4}})


def test_another_task_than_the_one_that_nodes_would_load_is_refused(tmp_path: Path):
    task = aepo.Task("atlas", [aepo.Sample("who?", "me")], reward=aepo.rewards.exact)
    with pytest.raises(ValueError, match=r"loads the task on every node: 'atlas' gives another one"):
        api.train_task(config(tmp_path / "run"), task)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(importlib.util.find_spec("verl") is not None, reason="verl is installed here")
def test_without_verl_the_line_says_what_to_install(tmp_path: Path):
    with pytest.raises(ValueError, match=r'pip install "aepo-rl\[verl\]"'):
        api.train_config(config(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path):
    settings = parse({"model": {"path": str(tmp_path)}})
    with pytest.raises(ValueError, match="tokenizer of model"):
        longest_prompt(settings, aepo.Task("t", [aepo.Sample("who?")]))


def test_an_unknown_key_of_verl_names_the_nearest():
    pytest.importorskip("verl", reason="verl is in an environment of its own: .ci/verl")
    with pytest.raises(ConfigError, match=r"verl has no key 'trainer.nodes': did you mean 'trainer.nnodes'\?"):
        launch.composed({"trainer.nodes": 2})


def test_a_run_without_a_checkpoint_of_verl_cannot_be_exported(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="no whole checkpoint of engine verl"):
        export(tmp_path, tmp_path / "out")


def test_a_checkpoint_that_lacks_a_file_is_named_and_nothing_is_left(tmp_path: Path):
    actor = tmp_path / "checkpoints" / "global_step_3" / "actor"
    actor.mkdir(parents=True)
    (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("3")
    (actor / "fsdp_config.json").write_text(json.dumps({"world_size": 2}))
    assert newest(tmp_path) == actor.parent
    with pytest.raises(ValueError, match=r"model_world_size_2_rank_0\.pt"):
        export(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
