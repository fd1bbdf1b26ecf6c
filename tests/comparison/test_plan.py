"""A comparison's settings become runs that differ in nothing but what is compared, or are refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepo.comparison.entries import ABLATIONS, named
from aepo.comparison.plan import Plan, load, plan
from aepo.config import ConfigError, algorithm_names, flat
from aepo.config.files import SHIPPED


def planned(*overrides: str, file: Path | None = None, seeds: str | None = None, quick: bool = False) -> Plan:
    return plan(load(file, overrides, seeds), quick)


def differences(found: Plan) -> set[str]:
    """Settings in which the runs differ."""
    every = [flat(run.config.model_dump(mode="json")) for run in found.runs]
    return {key for one in every for key in one if any(other.get(key) != one[key] for other in every)}


def test_without_any_settings_aepo_is_compared_with_grpo() -> None:
    found = planned()
    assert (found.labels, found.seeds, found.folder) == (["grpo", "aepo"], [0, 1, 2], Path("runs/comparison"))
    assert [str(run) for run in found.runs[:3]] == ["grpo, seed 0", "aepo, seed 0", "grpo, seed 1"]
    assert str(found.runs[1].folder) == "runs/comparison/runs/aepo-seed-0"


def test_the_default_budget_is_the_trajectories_of_the_base() -> None:
    found = planned("train.steps=3", "rollout.questions=4", "algorithm.group_size=6")
    assert (found.budget.kind, found.budget.amount) == ("trajectories", 72)
    assert {run.config.train.max_trajectories for run in found.runs} == {72}


def test_fewer_questions_a_step_are_more_steps_for_the_same_trajectories(tmp_path: Path) -> None:
    file = tmp_path / "compare.yaml"
    entries = "[{label: wide, overrides: {rollout.questions: 16}}, {label: narrow, overrides: {rollout.questions: 7}}]"
    file.write_text(f"entries: {entries}\nbudget: {{amount: 384}}\n")
    steps = {run.label: run.config.train.steps for run in planned(file=file).runs}
    assert steps == {"wide": 3, "narrow": 7}


def test_an_entry_with_smaller_steps_may_be_evaluated_after_more_of_them() -> None:
    entries = "entries=[{label: a}, {label: b, overrides: {rollout.questions: 4, evaluation.every: 7}}]"
    assert [run.config.evaluation.every for run in planned(entries, "evaluation.every=3", "seeds=0").runs] == [3, 7]


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("trajectories", "max_trajectories"),
        ("sampled_tokens", "max_sampled_tokens"),
        ("executed_calls", "max_executed_calls"),
    ],
)
def test_a_budget_of_any_kind_is_the_limit_of_every_run(kind: str, limit: str) -> None:
    found = planned(f"budget.kind={kind}", "budget.amount=500", "train.steps=9")
    for run in found.runs:
        limits = run.config.train.model_dump(include={"max_trajectories", "max_sampled_tokens", "max_executed_calls"})
        assert {name: value for name, value in limits.items() if value is not None} == {limit: 500}
        assert kind == "trajectories" or run.config.train.steps == 9


def test_ablations_differ_from_aepo_in_one_setting_each() -> None:
    found = planned(f"algorithms=aepo,{','.join(ABLATIONS)}", "seeds=7", "algorithm.tau=0.55")
    assert differences(found) == {
        "run",
        "algorithm.dynamic_budget",
        "algorithm.branch_penalty",
        "algorithm.entropy_clip",
        "algorithm.entropy_advantage",
        "algorithm.branch_rule",
    }
    aepo = flat(found.runs[0].config.model_dump(mode="json"))
    for run in found.runs[1:]:
        other = flat(run.config.model_dump(mode="json"))
        assert sum(other[key] != aepo[key] for key in aepo if key != "run") == 1, run.label


def test_another_algorithm_takes_from_the_base_what_all_share_and_its_own_defaults() -> None:
    found = planned("algorithm.group_size=5", "algorithm.clip_high=0.4", "algorithm.tau=0.7", "seeds=0")
    grpo, aepo = (run.config.algorithm for run in found.runs)
    assert (grpo.name, grpo.group_size, grpo.clip_high) == ("grpo", 5, 0.2)
    assert (aepo.name, aepo.group_size, aepo.clip_high) == ("aepo", 5, 0.4)


@pytest.mark.parametrize("name", [*algorithm_names(), *ABLATIONS])
def test_every_short_name_is_an_entry(name: str) -> None:
    (run,) = planned(f"algorithms={name}", "seeds=0").runs
    assert run.label == name and run.config.algorithm.name == name.split("-")[0]


def test_runs_have_one_thread_whatever_the_machine_has() -> None:
    assert {run.config.train.threads for run in planned().runs} == {1}
    assert {run.config.train.threads for run in planned("train.threads=3").runs} == {3}


def test_a_file_of_a_training_is_the_base(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("run: runs/mine\nseed: 5\nrollout: {questions: 3}\nevaluation: {questions: 20, samples: 4}\n")
    found = planned(file=file, seeds="4,5")
    for run in found.runs:
        assert run.config.rollout.questions == 3
        assert (run.config.evaluation.questions, run.config.evaluation.samples) == (20, 5)
    assert found.seeds == [4, 5]


def test_a_base_may_be_a_file_beside_the_comparison_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.yaml").write_text("rollout: {questions: 3, temperature: 0.9}\n")
    file = tmp_path / "compare.yaml"
    file.write_text("base: base.yaml\nentries: [aepo, {label: hot, overrides: {rollout: {temperature: 1.2}}}]\n")
    monkeypatch.chdir("/")
    found = planned("rollout.questions=4", file=file, seeds="0")
    assert [(run.config.rollout.questions, run.config.rollout.temperature) for run in found.runs] == [
        (4, 0.9),
        (4, 1.2),
    ]


def test_a_base_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "compare.yaml"
    file.write_text("base: [1]\n")
    with pytest.raises(ConfigError, match=r"base of .*compare.yaml is \[1\]: write the keys of a training conf"):
        planned(file=file)


def test_quick_is_small_and_has_its_own_folder() -> None:
    full, quick = (planned("algorithms=grpo", "rollout.questions=32", quick=quick) for quick in (False, True))
    assert quick.folder != full.folder and quick.seeds == [0, 1]
    for config in (run.config for run in quick.runs):
        assert (config.train.steps, config.rollout.questions, config.evaluation.questions) == (2, 2, 6)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["algorithms=grpo,aepoo"], "unknown algorithm or ablation 'aepoo': did you mean 'aepo'? known: "),
        (["algorithms=aepo-no-clipping"], "unknown algorithm or ablation 'aepo-no-clipping': did you mean 'aepo-no-cl"),
        (["algorithms=grpo,aepo,grpo"], "entries: two are called 'grpo': give one of them another label"),
        (["seeds=0,1,1"], "seeds: seed 1 comes twice, and would count twice: give each seed once"),
        (["seeds=a"], "seeds.0: input should be a valid integer"),
        (["seeds=[]"], "seeds: "),
        (["budget.amount=7"], "entry 'grpo': budget.amount is 7, less than one group of 8 trajectories can"),
        (["budget.kind=executed_calls", "budget.amount=7"], "budget.amount is 7, less than one group of 8"),
        (["budget.kind=steps", "budget.amount=9"], "budget.kind: input should be 'trajectories', 'sampled_tokens' or"),
        (["budget.amounts=9"], "unknown key 'budget.amounts': did you mean 'amount'?"),
        (["train.max_trajectories=99"], "train.max_trajectories is of one run: write budget.kind and budget.amount in"),
        (["run=runs/x"], "run=runs/x is of one run: write folder=runs/x"),
        (["seed=3"], "seed=3 is of one run: write seeds=3"),
        (["train.stepz=3"], "unknown key 'train.stepz': did you mean 'steps'?"),
        (
            ["entries=[{label: a, overrides: {task.options.split: test}}]"],
            "entry 'a' sets task.options.split: the entries would have different tasks, and nothing could be compared",
        ),
        (["entries=[{label: a, overrides: {task: {name: x}}}]"], "entry 'a' sets task.name: the entries would have"),
        (
            ["entries=[{label: a, overrides: {evaluation.samples: 2}}]"],
            "entry 'a' sets evaluation.samples: every entry",
        ),
        (["entries=[{label: a, overrides: {train.steps: 2}}]"], "entry 'a' sets train.steps: the comparison's budget"),
        (["entries=[{label: a, overrides: {algorithm.tua: 1}}]"], "entry 'a': unknown key 'algorithm.tua': did you"),
        (["entries=[{label: a/b}]"], "entries.0.label: string should match pattern"),
        (["entries=[{lable: a}]"], "unknown key 'entries.0.lable': did you mean 'label'?"),
        (["evaluation.samplez=1"], "unknown key 'evaluation.samplez': did you mean 'samples'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_compared_is_refused_in_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        planned(*overrides)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_line_about_many_entries_does_not_list_them() -> None:
    with pytest.raises(ConfigError) as error:
        planned("algorithms=grpo,aepo,dapo,gppo,grpo")
    assert str(error.value) == "entries: two are called 'grpo': give one of them another label"


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("compare-*.yaml")), ids=lambda file: file.stem)
def test_shipped_comparisons_are_valid(file: Path) -> None:
    found = planned(file=file)
    assert found.labels[0] in ("grpo", "aepo")
    by_calls = ("compare-calls", "compare-signal")
    assert found.budget.kind == ("executed_calls" if file.stem in by_calls else "trajectories")
    # Only what is reported needs several seeds, and settings are not chosen on the seeds of what is.
    reported = planned(file=SHIPPED / "compare-atlas.yaml").seeds
    assert not set(found.seeds) & set(reported) if file.stem == "compare-tuning" else len(found.seeds) >= 3


def test_short_names_do_not_share_their_overrides() -> None:
    assert named("aepo-random").overrides == ABLATIONS["aepo-random"]
