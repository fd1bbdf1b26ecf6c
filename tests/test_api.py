"""What Python code sees: runs, policies, evaluations, and errors before anything is trained."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import aepo
from aepo import config
from aepo.config import Config
from aepo.rollout.explorer import RolloutError
from aepo.runs.metrics import read_metrics
from aepo.types import TrajectoryTree
from tests import tiny


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Config:
    return config.load(None, tiny.settings(tmp_path / "run", model_folder, "train.steps=1"))


def equal_weights(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_train_evaluate_and_load(tmp_path: Path, model_folder: Path, settings: Config) -> None:
    task = tiny.letters(3)
    before = aepo.load_policy(str(model_folder))
    run = aepo.train(str(model_folder), task, aepo.AEPO(group_size=4, tau=0.4), settings, str(tmp_path / "mine"))
    assert run.folder == tmp_path / "mine" and os.fspath(run) == str(run.folder)
    assert run.config.algorithm == aepo.AEPO(group_size=4, tau=0.4)
    assert run.config.task.name == "tests.tiny:letters" and run.config.train.steps == 1
    assert not equal_weights(run.policy, before)

    again = aepo.load_policy(str(run.folder))
    assert equal_weights(again, run.policy)
    result = aepo.evaluate(run.policy, task, samples=3, config=settings)
    assert [g.sample.id for g in result.sampled] == [s.id for s in task.held_out]
    assert result.samples == 3 and result.greedy_success is not None
    by_path = aepo.evaluate(str(run.folder), task, samples=3, config=settings)
    assert by_path.metrics() == result.metrics()
    without = aepo.evaluate(run.policy, task, samples=1, greedy=False, questions=task.samples[:2], config=settings)
    assert len(without.sampled) == 2 and without.greedy_success is None
    assert aepo.view(run).is_file()


def test_class_defaults_train_a_task_smaller_than_a_step(tmp_path: Path, model_folder: Path) -> None:
    settings = Config.model_validate({"train": {"steps": 1, "threads": 1}, "rollout": {"max_tokens": 20}})
    run = aepo.train(str(model_folder), tiny.letters(2, 0), config=settings, run=str(tmp_path / "run"))
    rows = read_metrics(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1], "without held-out questions nothing is evaluated"
    assert run.config.algorithm == aepo.AEPO()


def test_a_task_without_held_out_questions_is_evaluated_on_all(model_folder: Path, settings: Config) -> None:
    policy = aepo.load_policy(str(model_folder))
    assert len(aepo.evaluate(policy, tiny.letters(3, 0), samples=1, config=settings).sampled) == 3
    with pytest.raises(ValueError, match="no question of task 'letters' to evaluate with"):
        aepo.evaluate(policy, tiny.letters(3), questions=[], config=settings)


def plain(query: str) -> str:
    """Look something up.

    Args:
        query: What to look up.
    """
    return query


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (replace(tiny.letters(), reward=None), r"task 'letters' has no reward: give it a function of \(sample, traj"),
        (replace(tiny.letters(), tools=[tiny.search, tiny.search]), "two tools are named 'search': rename one"),
        (replace(tiny.letters(), system="a" * 500), "max_length is .*, but the model was built for 512 positions"),
    ],
    ids=["reward", "two tools", "long prompt"],
)
def test_a_task_that_does_not_fit_is_refused_before_there_is_a_run(
    task: aepo.Task, line: str, settings: Config, model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=line):
        aepo.train(str(model_folder), task, config=settings)
    assert not (tmp_path / "run").exists()


def test_a_task_takes_tools_not_plain_functions() -> None:
    with pytest.raises(ValueError, match=r"tool .plain. of task .letters.: decorate it with @aepo\.tool"):
        replace(tiny.letters(), tools=[plain])


def test_what_the_tools_say_of_themselves_stands_in_the_run(
    settings: Config, model_folder: Path, tmp_path: Path
) -> None:
    told = replace(tiny.search, details={"sandbox": "unsafe_no_sandbox"})
    aepo.train(str(model_folder), replace(tiny.letters(), tools=[told]), config=settings)
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert versions["tools"] == {"search": {"sandbox": "unsafe_no_sandbox"}} and "python" in versions


def test_a_task_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="task 'empty' has no samples"):
        aepo.Task("empty", [])


def test_two_samples_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="two samples have the id 'x'"):
        aepo.Task("twins", [aepo.Sample("a", id="x"), aepo.Sample("b", id="x")])


def test_a_run_without_a_checkpoint_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="has no whole checkpoint yet"):
        aepo.load_policy(str(tmp_path))


@aepo.tool
def buggy(query: str) -> str:
    """Look something up.

    Args:
        query: What to look up.
    """
    raise KeyError(query)


def with_a_bug() -> aepo.Task:
    return replace(tiny.letters(), tools=[replace(buggy, name="search")])


def test_a_tool_bug_stops_the_run_and_keeps_its_trajectory(
    tmp_path: Path, model_folder: Path, settings: Config
) -> None:
    with pytest.raises(RolloutError, match="tool search raised KeyError") as error:
        aepo.train(str(model_folder), with_a_bug(), config=settings)
    (kept,) = (tmp_path / "run" / "failures").iterdir()
    assert any(str(kept) in note for note in error.value.__notes__)
    failure = json.loads(kept.read_text())
    assert "Traceback" in failure["error"] and "raise KeyError(query)" in failure["error"]
    tree = TrajectoryTree.from_dict(failure["tree"])
    assert failure["sample"]["id"] == error.value.group.sample.id
    assert any(call.name == "search" for node in tree.nodes for call in node.calls), "the call is in it"


def test_a_tool_bug_may_be_told_to_the_model_instead(tmp_path: Path, model_folder: Path, settings: Config) -> None:
    told = settings.model_copy(update={"rollout": settings.rollout.model_copy(update={"on_tool_bug": "tell"})})
    run = aepo.train(str(model_folder), with_a_bug(), config=told)
    assert not (run.folder / "failures").exists()
    (row,) = [row for row in read_metrics(run.folder / "metrics.jsonl") if "reward/mean" in row]
    assert row["tool/search/error_rate"] == 1.0 and row["tool/executed_calls"] > 0


def test_a_model_that_trees_cannot_be_trained_on_is_refused_before_there_is_a_run(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, FalconConfig

    words = tiny.tokenizer()
    shape = FalconConfig(vocab_size=len(words), hidden_size=32, num_attention_heads=4, num_hidden_layers=2)
    AutoModelForCausalLM.from_config(shape).save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    settings = config.load(None, tiny.settings(tmp_path / "run", tmp_path / "model"))
    with pytest.raises(ValueError, match=r"cannot be trained on trees.*set train.layout: flat"):
        aepo.train(str(tmp_path / "model"), tiny.letters(2, 0), config=settings)
    assert not (tmp_path / "run").exists()
