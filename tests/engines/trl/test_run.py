"""A configuration runs under TRL's trainer as it does under ours, and its folder is one like any other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aepo import api, cli, config
from aepo.assembly.policies import BUILT_IN_MODELS, load_to_train
from aepo.config import ConfigError
from aepo.rollout.explorer import RolloutError
from aepo.runs.metrics import read_metrics
from aepo.viewer import read_trees, tree_files
from tests import tiny

pytest.importorskip("trl", exc_type=ImportError)

from aepo.engines.trl import checkpoints
from aepo.engines.trl import run as trl
from tests.kept import comparable

Go = Callable[..., api.Run]
# In the second step: evaluation and first step make 12 calls, the second 12 more.
FAILING_CALL = 20


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """Start or resume a run."""

    def run(*overrides: str, name: str = "run", resume: bool = False) -> api.Run:
        given = tiny.settings(tmp_path / name, model_folder, "engine=trl", "train.steps=3", *overrides)
        return api.train_config(config.load(None, given), resume)

    return run


def metrics(run: api.Run) -> list[dict[str, Any]]:
    """All lines, without what reads a clock."""
    return [comparable(row) for row in read_metrics(run.folder / "metrics.jsonl")]


def tokens(run: api.Run) -> list[list[tuple[str, list[list[int]]]]]:
    return [
        [(record.group.sample.id, [node.tokens for node in record.group.tree.nodes]) for record in read_trees(path)]
        for path in tree_files(run.folder)
    ]


def difference(one: api.Run, other: api.Run) -> float:
    ours, theirs = one.policy.model.state_dict(), other.policy.model.state_dict()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


@pytest.mark.parametrize("overrides", [(), ("train.layout=flat",), ("train.epochs=2",)], ids=["tree", "flat", "epochs"])
def test_a_run_is_that_of_the_local_engine_to_rounding(go: Go, overrides: tuple[str, ...]) -> None:
    ours, theirs = go("engine=local", *overrides, name="local"), go(*overrides, name="trl")
    assert tokens(ours) == tokens(theirs)
    assert difference(ours, theirs) < 1e-4
    local, under_trl = metrics(ours), metrics(theirs)
    assert [row["step"] for row in local] == [row["step"] for row in under_trl]
    for one, other in zip(local, under_trl, strict=True):
        assert one.keys() == other.keys()
        for name in ("loss", "reward/mean", "branch/per_group", "grad/norm", "eval/success", "train/learning_rate"):
            assert (name in one) == (name in other)
            if name in one:
                assert other[name] == pytest.approx(one[name], abs=1e-3), name


def test_the_folder_has_what_evaluation_and_viewer_open(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    run = go()
    newest = checkpoints.newest(run.folder / "checkpoints")
    assert newest is not None and newest.name == "checkpoint-6"
    assert sorted(path.name for path in (run.folder / "outcomes").iterdir()) == [
        "step-000000.jsonl",
        "step-000002.jsonl",
        "step-000003.jsonl",
    ]
    assert not (run.folder / "checkpoints" / "README.md").exists()
    loaded = api.load_policy(str(run.folder))
    for name, value in run.policy.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[name])
    capsys.readouterr()
    cli.main(["eval", str(run.folder), "--samples", "2", "--no-greedy"])
    assert "Pass@2" in capsys.readouterr().out
    cli.main(["view", str(run.folder), "--export", str(run.folder / "page.html")])
    assert (run.folder / "page.html").stat().st_size > 10_000


def test_it_goes_on_from_its_newest_checkpoint_as_if_it_had_not_stopped(go: Go) -> None:
    whole = go("train.steps=4", "train.checkpoint_every=1", name="whole")
    parts = go("train.steps=2", "train.checkpoint_every=1", name="parts")
    parts = go("train.steps=4", "train.checkpoint_every=1", name="parts", resume=True)
    assert difference(whole, parts) == 0.0
    steps = [row["step"] for row in metrics(whole)]
    assert [row["step"] for row in metrics(parts)] == steps
    assert metrics(parts) == metrics(whole) and tokens(parts) == tokens(whole)


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(go: Go) -> None:
    run = go("train.checkpoint_every=1")
    kept = run.folder / "checkpoints"
    (kept / "checkpoint-6" / "trainer_state.json").write_text("{")
    found = checkpoints.newest(kept)
    assert found is not None and found.name == "checkpoint-4"


def test_a_budget_ends_the_run_and_a_resumed_one_stays_ended(go: Go) -> None:
    budget = "train.max_trajectories=24"
    run = go("train.steps=9", budget)
    assert [row["budget/trajectories"] for row in metrics(run) if "loss" in row] == [12.0, 24.0]
    before = metrics(run)
    again = go("train.steps=9", budget, resume=True)
    assert metrics(again) == before and difference(run, again) == 0.0


def test_a_failure_while_sampling_leaves_a_checkpoint_to_go_on_from(
    go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == FAILING_CALL:
            raise OverflowError("out of words")

    monkeypatch.setattr(tiny, "on_call", fail)
    once = ["train.steps=3", "train.checkpoint_every=9", "evaluation.every=0"]
    with pytest.raises(RolloutError, match="out of words") as caught:
        go(*once)
    assert any("go on with: aepo train --resume" in note for note in caught.value.__notes__)
    kept = checkpoints.newest(tmp_path / "run" / "checkpoints")
    assert kept is not None and list((tmp_path / "run" / "failures").iterdir())
    monkeypatch.setattr(tiny, "on_call", lambda: None)
    resumed = go(*once, resume=True)
    assert difference(resumed, go(*once, name="whole")) == 0.0


def test_an_interrupt_while_sampling_leaves_one_too(
    go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, interruptible: None
) -> None:
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == FAILING_CALL:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(tiny, "on_call", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go("train.steps=3", "train.checkpoint_every=9")
    assert checkpoints.newest(tmp_path / "run" / "checkpoints") is not None


def test_adapters_and_a_kl_term(go: Go) -> None:
    pytest.importorskip("peft")
    run = go("model.lora.rank=2", "algorithm.kl_weight=0.1", "train.steps=2")
    rows = [row for row in metrics(run) if "loss" in row]
    assert 0.0 <= rows[0]["kl/reference"] < rows[1]["kl/reference"]
    loaded = api.load_policy(str(run.folder))
    assert hasattr(loaded.model, "disable_adapter")


def test_it_is_refused_before_there_is_a_run_folder(go: Go, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rollout.overlap is 1"):
        go("rollout.overlap=1", "rollout.deterministic=false")
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, go: Go) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    for name in [name for name in sys.modules if name.startswith("aepo.engines.trl.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("aepo.engines.trl.run")
    with pytest.raises(ConfigError, match=r'engine: trl needs the package trl: pip install "aepo-rl\[trl\]"'):
        go()


def test_settings_become_arguments_of_trl(tmp_path: Path, model_folder: Path) -> None:
    given = ["rollout.questions=4", "rollout.temperature=0.7", "train.epochs=2", "train.max_grad_norm=0.5", "seed=7"]
    settings = config.load(None, tiny.settings(tmp_path / "run", model_folder, "engine=trl", *given))
    trainer = trl.prepare(settings, load_to_train(settings), tiny.letters())
    args = trainer.args
    assert (args.num_generations, args.max_completion_length, args.temperature) == (6, 40, 0.7)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (12, 1)
    assert (args.steps_per_generation, args.num_iterations, args.max_steps) == (2, 2, 5 * 4)
    assert (args.save_steps, args.save_total_limit, args.eval_steps, args.num_generations_eval) == (8, 2, 8, 2)
    assert (args.max_grad_norm, args.seed, args.learning_rate) == (0.5, 7, 2e-3)


TASK = '''
import aepo

CAPITALS = {"Peru": "Lima", "Chad": "N'Djamena", "Oman": "Muscat", "Fiji": "Suva"}


@aepo.tool(timeout=10)
def search(country: str) -> str:
    """The capital of a country.

    Args:
        country: Its name.
    """
    return CAPITALS.get(country, "unknown")


def capitals() -> aepo.Task:
    samples = [aepo.Sample(f"What is the capital of {c}?", target=t) for c, t in CAPITALS.items()]
    return aepo.Task("capitals", samples, tools=[search], reward=aepo.rewards.exact, system="")
'''


@pytest.mark.parametrize("engine", ["local", "trl"])
def test_a_task_of_twenty_lines_runs_unchanged(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    assert len(TASK.strip().splitlines()) <= 20
    (tmp_path / "capitals_task.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = ["task.name=capitals_task:capitals", "rollout.questions=4", "rollout.max_tokens=96", "train.threads=1"]
    settings += ["algorithm.group_size=4", "train.steps=1", f"engine={engine}", "run=run"]
    assert cli.main(["train", *settings]) == 0, capsys.readouterr().err
    (row,) = [row for row in read_metrics(Path("run/metrics.jsonl")) if "loss" in row]
    assert row["tool/search/calls"] > 0 and row["budget/trajectories"] == 16


def test_the_command_line_chooses_the_engine(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny.settings(tmp_path / "run", model_folder, "train.steps=1", "evaluation.every=0")
    cli.main(["train", *settings, "--engine", "trl"])
    assert "under TRL: 1 steps" in capsys.readouterr().out
    assert "engine: trl" in (tmp_path / "run" / "config.yaml").read_text()
    assert cli.main(["train", *settings, "rollout.overlap=1", "rollout.deterministic=false", "--engine", "trl"]) == 2
    assert "rollout.overlap is 1" in capsys.readouterr().err
