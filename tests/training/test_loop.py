"""A run writes what it promises, and goes on after any interruption bit for bit as if there had been none."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

import anyio
import pytest
import torch
import yaml
from safetensors.torch import load_file

import aepo
from aepo import api, config
from aepo.algorithms import Algorithm, AnyAlgorithm
from aepo.config import Config, ConfigError
from aepo.evaluation.outcomes import from_lines
from aepo.files.folders import remove
from aepo.rewards.score import RewardScorer
from aepo.rollout.agent import Agent
from aepo.runs import checkpoint, manifest
from aepo.runs.metrics import read_metrics
from aepo.training import loop
from aepo.training.display import Display
from aepo.training.step import NonFiniteLoss
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.kept import comparable, step_of
from tests.training.child import Child

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])


def metrics(run: Path) -> list[dict[str, Any]]:
    """All lines, without what reads a clock."""
    return [comparable(row) for row in read_metrics(run / "metrics.jsonl")]


def weights(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    return load_file(newest / "policy" / "model.safetensors")


def assert_equal_runs(one: Path, other: Path) -> None:
    """Bit for bit: metrics, trees and final weights."""
    assert metrics(one) == metrics(other)
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
    assert trees(one) == trees(other)
    assert outcomes(one) == outcomes(other)


def outcomes(run: Path) -> dict[str, str]:
    """What every evaluation found, by file."""
    return {path.name: path.read_text() for path in (run / "outcomes").iterdir()}


def trees(run: Path) -> list[list[tuple[str, list[tuple[list[int], list[float]]]]]]:
    return [
        [(r.group.sample.id, [(n.tokens, n.logprobs) for n in r.group.tree.nodes]) for r in read_trees(path)]
        for path in tree_files(run)
    ]


Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """Start or resume a run; returns its folder."""

    def run(*overrides: str, name: str = "run", resume: bool = False) -> Path:
        api.train_config(config.load(None, tiny.settings(tmp_path / name, model_folder, *overrides)), resume)
        return tmp_path / name

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A run of five steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    before = torch.get_num_threads()
    api.train_config(config.load(None, tiny.settings(folder, model_folder)))
    torch.set_num_threads(before)
    return folder


def test_a_run_leaves_its_configuration_metrics_trees_and_checkpoints(whole: Path, model_folder: Path) -> None:
    saved = config.load(whole / "config.yaml")
    assert saved.rollout.date is not None, "the day on which it began"
    assert saved == config.load(None, tiny.settings(whole, model_folder, f"rollout.date={saved.rollout.date}"))
    assert (whole / "versions.json").is_file()
    assert [path.name for path in tree_files(whole)] == [f"step-{n:06d}.jsonl.gz" for n in range(1, 6)]
    kept = sorted(path.name for path in (whole / "checkpoints").iterdir())
    assert kept == ["step-000004", "step-000005"], "the two newest, the last step's among them"
    assert all(checkpoint.damage(whole / "checkpoints" / name) is None for name in kept)
    assert sorted(path.name for path in (whole / "outcomes").iterdir()) == [f"step-{n:06d}.jsonl" for n in (0, 2, 4, 5)]


def test_a_run_is_evaluated_before_after_and_in_between(whole: Path) -> None:
    rows = metrics(whole)
    assert [row["step"] for row in rows if "eval/success" in row] == [0, 2, 4, 5]
    assert [row["step"] for row in rows if "reward/mean" in row] == [1, 2, 3, 4, 5]
    for row in rows:
        if "eval/success" in row:
            assert {"eval/pass@2", "eval/greedy", "eval/calls", "eval/tokens"} <= row.keys()


def test_the_run_that_these_tests_rest_on_has_branches_calls_and_something_to_learn(whole: Path) -> None:
    rows = [row for row in metrics(whole) if "reward/mean" in row]
    assert sum(row["branch/share"] for row in rows) > 0.2
    assert all(row["tool/executed_calls"] >= 3 for row in rows)
    assert all(row["grad/norm"] > 0 and row["train/optimizer_steps"] == 2 for row in rows)
    assert all(row["logprobs/rollout_difference_max"] < 1e-4 for row in rows)
    assert [row["train/learning_rate"] for row in rows] == pytest.approx([2e-3] * 5)


def test_outcomes_say_what_the_metrics_say(whole: Path) -> None:
    (row,) = [row for row in metrics(whole) if row["step"] == 5 and "eval/success" in row]
    found = from_lines((whole / "outcomes" / "step-000005.jsonl").read_text())
    assert [outcome.id for outcome in found] == ["q5", "q6"]
    assert fmean(outcome.passes(1) for outcome in found) == pytest.approx(row["eval/success"])
    assert fmean(outcome.greedy.reward >= 1.0 for outcome in found) == pytest.approx(row["eval/greedy"])


def test_what_a_run_has_used_adds_up_over_its_steps(whole: Path) -> None:
    rows = [row for row in metrics(whole) if "reward/mean" in row]
    assert [row["budget/trajectories"] for row in rows] == [12 * n for n in range(1, 6)]
    for total, step in (("budget/tokens_sampled", "tokens/sampled"), ("budget/executed_calls", "tool/executed_calls")):
        assert [row[total] for row in rows] == list(accumulate(row[step] for row in rows))


def test_groups_that_were_dropped_are_paid_for(tmp_path: Path, model_folder: Path) -> None:
    own = tiny.settings(tmp_path / "run", model_folder, "train.steps=3", "algorithm={name: dapo, group_size: 2}")
    api.train_config(config.load(None, own))
    rows = [row for row in metrics(tmp_path / "run") if "reward/mean" in row]
    assert sum(row["sampling/dropped_groups"] for row in rows) > 0
    assert rows[-1]["budget/trajectories"] > 3 * 4
    assert [row["budget/tokens_sampled"] for row in rows] == list(accumulate(row["tokens/sampled"] for row in rows))


@pytest.mark.parametrize("limit", ["max_trajectories=30", "max_sampled_tokens", "max_executed_calls"])
def test_a_run_ends_with_the_step_that_uses_up_its_budget_resumed_or_not(whole: Path, go: Go, limit: str) -> None:
    if "=" not in limit:
        name = {"max_sampled_tokens": "budget/tokens_sampled", "max_executed_calls": "budget/executed_calls"}[limit]
        (third,) = [row for row in metrics(whole) if row["step"] == 3 and name in row]
        limit = f"{limit}={int(third[name])}"
    run = go(f"train.{limit}")
    assert metrics(run)[-1]["step"] == 3 and "eval/success" in metrics(run)[-1], "the end is evaluated"
    assert [row for row in metrics(whole) if row["step"] <= 2] == [row for row in metrics(run) if row["step"] <= 2]
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None and step_of(newest) == 3
    go(f"train.{limit}", "train.steps=2", name="resumed")
    assert_equal_runs(go(f"train.{limit}", name="resumed", resume=True), run)
    assert metrics(go(resume=True))[-1]["step"] == 5, "without the limit it goes on"


def test_entropy_that_leaves_its_band_is_told_once_a_crossing_and_logged_every_step(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Display, "message", lambda self, text: told.append(text))
    tight = ["train.entropy_band=1e-6", "train.steps=9", "evaluation.every=0"]
    run = go(*tight)
    alarms = [row["alarm/entropy"] for row in metrics(run) if "reward/mean" in row]
    assert alarms[:5] == [0.0] * 5 and alarms[5:] == [1.0] * 4
    for name in ("alarm/entropy_below", "alarm/entropy_above"):
        assert all(row[name] in (0.0, 1.0) for row in metrics(run) if "reward/mean" in row)
    assert told and all(line.startswith("policy entropy went from") for line in told)
    whole_story = list(told)
    go(*tight, "train.steps=7", name="resumed")
    go(*tight, name="resumed", resume=True)
    assert told == whole_story * 2, "a resumed run says nothing twice"
    assert metrics(run.parent / "resumed")[-1] == metrics(run)[-1]
    assert not any("alarm/entropy" in row for row in metrics(go("train.entropy_band=null", "train.steps=1", name="no")))


def test_a_run_with_rules_of_trust_and_entropy_resumes_as_if_it_had_not_stopped(go: Go) -> None:
    chosen = ["train.trust.rule=switch", "train.entropy_control.rule=band", "evaluation.every=0"]
    run = go(*chosen, "train.steps=4")
    rows = [row for row in metrics(run) if "reward/mean" in row]
    assert len({row["trust/beta"] for row in rows}) > 1
    assert all(row["entropy_control/weight"] > 0 for row in rows)
    go(*chosen, "train.steps=2", name="resumed")
    resumed = go(*chosen, "train.steps=4", name="resumed", resume=True)
    # An evaluation at the end of the first part is more than the whole run has.
    assert [row for row in metrics(resumed) if "reward/mean" in row] == rows
    ours, theirs = weights(run), weights(resumed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_pass_asks_each_question_once(whole: Path) -> None:
    asked = [record.group.sample.id for path in tree_files(whole) for record in read_trees(path)]
    everybody = Counter(f"q{n}" for n in range(5))
    assert Counter(asked[:5]) == Counter(asked[5:]) == everybody
    assert asked[:5] != asked[5:]


def test_a_run_that_went_on_from_a_checkpoint_equals_the_whole_one(whole: Path, go: Go) -> None:
    run = go("train.steps=2")
    assert metrics(run) == [row for row in metrics(whole) if row["step"] <= 2]
    assert_equal_runs(go(resume=True), whole)


def test_what_was_done_after_the_last_checkpoint_is_done_again(whole: Path, go: Go) -> None:
    run = go("train.steps=3", "train.checkpoint_every=2")
    remove(run / "checkpoints" / "step-000003")
    assert {row["step"] for row in metrics(run)} == {0, 1, 2, 3}
    assert_equal_runs(go(resume=True), whole)


def test_a_run_without_a_checkpoint_starts_anew(whole: Path, go: Go) -> None:
    run = go("train.steps=1")
    remove(run / "checkpoints" / "step-000001")
    assert_equal_runs(go(resume=True), whole)


def test_a_finished_run_is_left_as_it_is(go: Go) -> None:
    run = go("train.steps=1")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    go("train.steps=1", resume=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def interrupting(function: Callable[..., Any], number: int) -> Callable[..., Any]:
    """The function, but before its call of that number this process gets Ctrl-C."""
    calls = 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*args, **kwargs)

    return call


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("owner", "name", "number", "step"),
    [
        (tiny, "on_call", 25, None),
        (RewardScorer, "__call__", 30, None),
        (loop, "update", 4, 4),
        (loop, "evaluate", 1, 0),
        (loop, "evaluate", 2, 2),
        (manifest, "seal", 1, None),
        (Display, "step", 3, 2),
    ],
    ids=["call", "reward", "update", "first evaluation", "evaluation", "checkpoint", "display"],
)
def test_ctrl_c_at_any_place_leaves_a_checkpoint_to_go_on_from(
    whole: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int, step: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupting(getattr(owner, name), number))
        with pytest.raises(KeyboardInterrupt):
            go()
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert step is None or step_of(newest) == step
    assert_equal_runs(go(resume=True), whole)


def test_interrupted_twice_and_killed_a_run_still_equals_the_whole_one(
    whole: Path, go: Go, tmp_path: Path, model_folder: Path
) -> None:
    run = tmp_path / "run"
    first = Child(tmp_path, "call", 20, ["train", *tiny.settings(run, model_folder)])
    code, out, err = first.interrupt()
    assert code == 130, err
    assert f"go on with: aepo train --resume {run}" in out and "Traceback" not in err
    stopped = checkpoint.latest(run / "checkpoints")
    assert stopped is not None and step_of(stopped) < 4

    code, out, err = Child(tmp_path, "update", 1, ["train", "--resume", str(run)]).interrupt()
    assert code == 130, err
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    assert step_of(newest) == step_of(stopped) + 1, "an update that began is brought to its end"

    Child(tmp_path, "save", 1, ["train", "--resume", str(run)]).kill()
    assert [path.name for path in (run / "checkpoints").glob(".tmp-*")], "it was killed in the middle of a checkpoint"
    assert checkpoint.latest(run / "checkpoints") == newest
    assert_equal_runs(go(resume=True), whole)


@pytest.mark.parametrize("place", ["call", "update", "save"])
def test_sigterm_ends_a_run_as_ctrl_c_does_and_a_second_signal_changes_nothing(
    whole: Path, go: Go, tmp_path: Path, model_folder: Path, place: str
) -> None:
    run = tmp_path / "run"
    numbers = {"call": 20, "update": 2, "save": 1}
    child = Child(tmp_path, place, numbers[place], ["train", *tiny.settings(run, model_folder)])
    code, out, err = child.interrupt(signal.SIGTERM, *([signal.SIGINT, signal.SIGTERM] if place == "save" else []))
    assert code in ((143, 130) if place == "save" else (143,)), err
    assert f"go on with: aepo train --resume {run}" in out and "Traceback" not in err
    assert not list((run / "checkpoints").glob(".tmp-*"))
    assert_equal_runs(go(resume=True), whole)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed=1", "seed was 0 and is now 1"),
        ("rollout.temperature=0.9", "rollout.temperature was 1.0 and is now 0.9"),
        ("algorithm.tau=0.51", "algorithm.tau was 0.5 and is now 0.51"),
        ("train.learning_rate=1e-3", "train.learning_rate was 0.002 and is now 0.001"),
        ("task.options.count=4", "task.options was {} and is now None"),
        ("rollout.deterministic=false", "rollout.deterministic was True and is now False"),
    ],
)
def test_another_setting_makes_another_run(go: Go, override: str, line: str) -> None:
    run = go("train.steps=0")
    files = sorted(run.rglob("*"))
    with pytest.raises(ConfigError) as error:
        go("train.steps=0", override, resume=True)
    assert str(error.value) == f"cannot resume {run}: {line}; set it back, or start another run folder"
    assert sorted(run.rglob("*")) == files


def test_a_run_of_before_a_setting_existed_goes_on_with_its_default(go: Go) -> None:
    run = go("train.steps=0")
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["rollout"].pop("overlap") == 0
    (run / "config.yaml").write_text(yaml.safe_dump(saved))
    assert metrics(go("train.steps=1", resume=True))[-1]["step"] == 1


def test_what_a_step_does_not_depend_on_may_change(go: Go) -> None:
    run = go("train.steps=1")
    go("train.steps=2", "train.checkpoint_every=1", "train.keep_checkpoints=1", "train.trees_every=7", resume=True)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
    go("train.steps=2", "evaluation.questions=1", resume=True)


def test_a_run_of_no_steps_is_an_evaluation_with_a_checkpoint(go: Go) -> None:
    run = go("train.steps=0")
    assert [row["step"] for row in metrics(run)] == [0]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000"]


def at_random(seed: int) -> aepo.Tool:
    """The tiny task's tool, but answers come in any order."""
    rng = random.Random(seed)

    @aepo.tool(timeout=600)
    async def search(query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        for _ in range(rng.randrange(40)):
            await anyio.lowlevel.checkpoint()
        return query[::-1][:4]

    return search


def answering(tool: aepo.Tool, questions: int = 5, held_out: int = 2) -> aepo.Task:
    samples = tiny.samples(questions + held_out)
    return aepo.Task("letters", samples[:questions], [tool], tiny.early, samples[questions:], system="")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_in_which_tools_answer_changes_nothing(
    whole: Path, tmp_path: Path, model_folder: Path, seed: int
) -> None:
    settings = config.load(None, tiny.settings(tmp_path / "run", model_folder))
    api.train_task(settings, answering(at_random(seed)))
    assert_equal_runs(tmp_path / "run", whole)


def test_nor_does_it_while_questions_wait_for_room(tmp_path: Path, model_folder: Path) -> None:
    # Two groups at once, and trajectories so short that some end with their tool's result.
    narrow = ["rollout.questions=6", "rollout.max_sequences=12", "rollout.max_tokens=14", "train.steps=3"]
    for seed in (1, 2, 3):
        settings = config.load(None, tiny.settings(tmp_path / f"run-{seed}", model_folder, *narrow))
        api.train_task(settings, answering(at_random(seed), 8))
    assert any(row.get("stop/length", 0.0) > 0 for row in metrics(tmp_path / "run-1"))
    assert_equal_runs(tmp_path / "run-2", tmp_path / "run-1")
    assert_equal_runs(tmp_path / "run-3", tmp_path / "run-1")


def test_a_question_asked_twice_in_a_step_is_answered_twice(go: Go) -> None:
    run = go("train.steps=1", "rollout.questions=10")
    (step,) = trees(run)
    asked: dict[str, list[Any]] = {}
    for name, nodes in step:
        asked.setdefault(name, []).append(nodes)
    assert len(asked) == 5
    assert all(len(both) == 2 and both[0] != both[1] for both in asked.values())


def test_adapters_train_save_and_resume(tmp_path: Path, model_folder: Path, go: Go) -> None:
    lora = ["model.lora.rank=2", "algorithm.kl_weight=0.01", "model.gradient_checkpointing=true", "evaluation.every=1"]
    one = go(*lora, "train.steps=2", name="one")
    go(*lora, "train.steps=1", name="two")
    two = go(*lora, "train.steps=2", name="two", resume=True)
    assert metrics(one) == metrics(two)
    rows = [row for row in metrics(one) if "kl/reference" in row]
    # The first optimizer step of two meets the reference itself.
    assert 0.0 <= rows[0]["kl/reference"] < rows[1]["kl/reference"]
    ours, theirs = (
        load_file(run / "checkpoints" / "step-000002" / "policy" / "adapter_model.safetensors") for run in (one, two)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(tensor.abs().max() > 0 for name, tensor in ours.items() if "lora_B" in name)


def of(algorithm: dict[str, Any], run: Path, model_folder: Path, *overrides: str) -> Config:
    """The settings of these tests, but of another algorithm."""
    plain = config.load(None, tiny.settings(run, model_folder, *overrides)).model_dump(mode="json")
    return config.parse({**plain, "algorithm": algorithm})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_algorithm_takes_a_step(kind: type[Algorithm], tmp_path: Path, model_folder: Path) -> None:
    name = kind.model_fields["name"].default
    settings = of({"name": name, "group_size": 6}, tmp_path / "run", model_folder, "train.steps=1")
    api.train_config(settings)
    (row,) = [row for row in metrics(tmp_path / "run") if "reward/mean" in row]
    assert row["grad/norm"] > 0 and row["train/optimizer_steps"] == 2
    assert row["sampling/rounds"] >= 1 and row["sampling/dropped_groups"] >= 0
    if name not in ("aepo", "arpo"):
        assert row["branch/share"] == 0 and "entropy/gap" not in row
        assert set(row["budget/m_histogram"]) == {"5" if name == "axpo" else "6"}


DYNAMIC = {"name": "dapo", "group_size": 2, "max_rounds": 4}


def test_what_dynamic_sampling_throws_away_is_counted_and_kept_to_look_at(tmp_path: Path, model_folder: Path) -> None:
    run = tmp_path / "run"
    api.train_config(of(DYNAMIC, run, model_folder))
    rows = [row for row in metrics(run) if "reward/mean" in row]
    dropped = [row["sampling/dropped_groups"] for row in rows]
    assert sum(dropped) > 0 and 0 in dropped
    for row, path in zip(rows, tree_files(run), strict=True):
        groups = [record.group for record in read_trees(path)]
        assert (row["sampling/rounds"] > 1) == (row["sampling/dropped_groups"] > 0)
        assert len(groups) - row["sampling/dropped_groups"] <= 2
        nodes = [node for group in groups for node in group.tree.nodes]
        assert row["tokens/sampled"] == sum(len(n.tokens) for n in nodes if n.kind is aepo.types.Kind.POLICY)
        assert row["tool/executed_calls"] == sum(result.executed for n in nodes for result in n.results)


def test_a_run_with_dynamic_sampling_goes_on_bit_for_bit(tmp_path: Path, model_folder: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    api.train_config(of(DYNAMIC, one, model_folder))
    for steps in (1, 3, 5):
        api.train_config(of(DYNAMIC, two, model_folder, f"train.steps={steps}"), resume=steps > 1)
    # A shorter run was evaluated where it ended.
    trained = [[row for row in metrics(run) if "reward/mean" in row] for run in (one, two)]
    assert trained[0] == trained[1] and any(row["sampling/rounds"] > 1 for row in trained[0][1:])
    assert trees(one) == trees(two)
    ours, theirs = weights(one), weights(two)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(("owner", "name"), [(RewardScorer, "__call__"), (Agent, "grow")], ids=["reward", "rollout"])
def test_a_failure_in_a_rollout_loses_no_step(
    whole: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    real, broken = getattr(owner, name), threading.Event()

    async def failing(*args: Any, **kwargs: Any) -> Any:
        if broken.is_set():
            raise ValueError("reward of sample 'q1' is nan")
        return await real(*args, **kwargs)

    real_step = Display.step

    def stepped(self: Display, step: int, values: Any) -> None:
        real_step(self, step, values)
        if step == 3 and "reward/mean" in values:
            broken.set()

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing)
        patch.setattr(Display, "step", stepped)
        with pytest.raises(ValueError, match="is nan"):
            go()
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 3
    assert_equal_runs(go(resume=True), whole)


def test_a_display_that_ends_the_program_loses_no_step(
    whole: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaving(self: Display, step: int, values: Any) -> None:
        if step == 3 and "reward/mean" in values:
            sys.exit("enough")

    with monkeypatch.context() as patch:
        patch.setattr(Display, "step", leaving)
        with pytest.raises(SystemExit, match="enough"):
            go()
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 3
    assert_equal_runs(go(resume=True), whole)


def test_a_failure_in_an_update_keeps_the_last_good_checkpoint(
    whole: Path, go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = loop.update, Counter[str]()

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls["update"] += 1
        if calls["update"] == 4:
            raise NonFiniteLoss("the loss is not finite")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "update", failing)
        with pytest.raises(NonFiniteLoss):
            go()
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 2, "weights may be half way: they are not kept"
    assert_equal_runs(go(resume=True), whole)
