"""What can be opened, and the one line for each folder that can't."""

import json
import shutil

import pytest

from aepo.viewer import views
from aepo.viewer.source import open_source


def evaluation(folder, example_run, form=1):
    """An evaluation's folder with one data set of ten questions in two files."""
    (folder / "gsm8k" / "trees").mkdir(parents=True)
    settings = {"format": form, "models": ["tiny"], "samples": 8, "limits": {"max_tokens": 64}}
    (folder / "settings.json").write_text(json.dumps(settings))
    for count, step in ((0, 10), (5, 20)):
        name = folder / "gsm8k" / "trees" / f"step-{count:06d}.jsonl.gz"
        shutil.copy(example_run / "trees" / f"step-{step:06d}.jsonl.gz", name)
    return folder


def test_a_run_has_a_section_a_step_and_the_rules_that_decisions_are_drawn_against(example_run):
    source = open_source(example_run)
    assert (source.name, source.kind) == ("example", "run")
    assert [(s.key, s.label, s.step) for s in source.sections()] == [("10", "step 10", 10), ("20", "step 20", 20)]
    assert source.rules() == {"branch_rule": "threshold", "tau": 0.6, "clip_high": 0.28}
    assert ("algorithm", "aepo") in source.facts()


def test_sections_grow_with_the_run(example_run):
    source = open_source(example_run)
    shutil.copy(example_run / "trees" / "step-000020.jsonl.gz", example_run / "trees" / "step-000030.jsonl.gz")
    (example_run / "trees" / ".tmp-step-000040.jsonl.gz-17").write_bytes(b"half")
    assert [s.key for s in source.sections()] == ["10", "20", "30"]


def test_an_evaluation_has_a_section_a_data_set_whose_questions_are_numbered_through(tmp_path, example_run):
    source = open_source(evaluation(tmp_path / "evaluation", example_run))
    (section,) = source.sections()
    assert (source.kind, section.key, len(section.files)) == ("evaluation", "gsm8k", 2)
    assert [q["index"] for q in views.questions(section)] == list(range(10))
    assert views.question(section, 7)["id"] == "test-2" and views.question(section, 7)["index"] == 7
    with pytest.raises(KeyError):
        views.question(section, 10)


def test_an_evaluation_on_a_task_tells_sampled_from_greedy(tmp_path, example_run):
    (tmp_path / "own" / "trees").mkdir(parents=True)
    (tmp_path / "own" / "report.json").write_text('{"model": "m", "task": "atlas", "samples": 4, "eval/success": 0.5}')
    for step, kept in ((0, 10), (1, 20)):
        name = tmp_path / "own" / "trees" / f"step-{step:06d}.jsonl.gz"
        shutil.copy(example_run / "trees" / f"step-{kept:06d}.jsonl.gz", name)
    source = open_source(tmp_path / "own")
    assert [s.label for s in source.sections()] == ["sampled", "greedy"]
    assert source.facts() == [("task", "atlas"), ("model", "m"), ("samples", "4")]
    (tmp_path / "own" / "report.json").write_text("{half")
    with pytest.raises(ValueError, match=r"cannot read .*report\.json"):
        open_source(tmp_path / "own")


def test_trees_alone_are_enough(tmp_path, example_run):
    shutil.copytree(example_run / "trees", tmp_path / "bare" / "trees")
    assert open_source(tmp_path / "bare").rules() == {}
    assert len(open_source(tmp_path / "bare").sections()) == 2


def test_a_run_that_has_only_begun_opens(example_run):
    shutil.rmtree(example_run / "trees")
    (example_run / "metrics.jsonl").write_text("")
    source = open_source(example_run)
    assert source.sections() == [] and views.metrics(source) == {"after": 0, "count": 0, "rows": [], "meanings": {}}


def no_folder(path, example_run):
    return "no run folder "


def empty(path, example_run):
    path.mkdir()
    return "holds no run: it has neither config.yaml nor metrics.jsonl nor trees, nor settings.json"


def several_runs(path, example_run):
    shutil.copytree(example_run, path / "runs" / "one")
    return r"holds 1 runs: open one or two of them, e\.g\. .*one"


def broken_config(path, example_run):
    shutil.copytree(example_run, path)
    (path / "config.yaml").write_text("algorithm: [aepo")
    return r"config\.yaml is not YAML"


def other_evaluation(path, example_run):
    evaluation(path, example_run, form=99)
    return r"settings\.json is of another version; this one reads format 1"


@pytest.mark.parametrize("made", [no_folder, empty, several_runs, broken_config, other_evaluation])
def test_a_folder_that_cannot_be_opened_is_one_clear_line(tmp_path, example_run, made):
    told = made(tmp_path / "it", example_run)
    with pytest.raises((ValueError, OSError), match=told) as caught:
        open_source(tmp_path / "it")
    assert "\n" not in str(caught.value)


def test_metrics_are_told_from_where_the_page_has_them(example_run):
    source = open_source(example_run)
    assert len(views.metrics(source)["rows"]) == 60
    with (example_run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "reward/mean": 0.5}\n{"step": 62, "rew')  # the last one is being written
    found = views.metrics(source, 60)
    assert (found["after"], found["count"], found["rows"]) == (60, 61, [{"step": 61, "reward/mean": 0.5}])
    assert found["meanings"] == {"reward/mean": ["", "The mean reward of the step's trajectories."]}
    (example_run / "metrics.jsonl").write_text('{"step": 1, "reward/mean": 0.1}\n')  # resumed from an earlier step
    found = views.metrics(source, 61)
    assert (found["after"], found["count"], found["rows"]) == (0, 1, [{"step": 1, "reward/mean": 0.1}])
