"""What a run learned and where it fails, from the outcomes that its evaluations left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aepo.viewer import views
from aepo.viewer.learned import learned
from aepo.viewer.source import open_source, runs_in
from tests.viewer.conftest import with_outcomes


def test_the_first_and_the_last_evaluation_stand_side_by_side(example_run: Path) -> None:
    found = learned(open_source(with_outcomes(example_run)))
    assert found["steps"] == [0, 60]
    first = found["questions"][0]
    assert (first["question"], first["targets"]) == ("Question a?", ["Oslo"])
    assert first["before"] == {
        "right": 0.0,
        "answers": [[2, "Rome", "answer", False]],
        "greedy": ["Rome", "answer", False],
    }
    assert first["after"]["right"] == 1.0
    assert found["questions"][2]["before"]["answers"] == [[1, None, "length", False], [1, "Rome", "answer", False]]


def test_success_is_split_by_metadata_that_has_few_values_and_does_not_name_single_questions(example_run: Path) -> None:
    (kind,) = learned(open_source(with_outcomes(example_run)))["by"]
    assert kind["key"] == "kind"
    assert kind["rows"] == [
        {"value": "capital", "questions": 2, "before": 0.0, "after": 0.5},
        {"value": "river", "questions": 1, "before": 1.0, "after": 0.5},
    ]


def test_the_wrong_answers_that_came_most_often_come_first(example_run: Path) -> None:
    assert learned(open_source(with_outcomes(example_run)))["wrong"] == [{"answer": "Rome", "count": 3, "questions": 2}]


def test_outcomes_of_an_older_version_show_the_id(example_run: Path) -> None:
    (example_run / "outcomes").mkdir()
    old = {"format": 1, "id": "q7", "sampled": [{"reward": 1.0, "answer": "x"}], "greedy": None}
    (example_run / "outcomes" / "step-000000.jsonl").write_text(json.dumps(old) + "\n")
    found = learned(open_source(example_run))
    assert (found["steps"], found["questions"][0]["question"]) == ([0], "q7")
    assert found["questions"][0]["before"] is None


def test_an_evaluation_has_its_figures_and_its_run_has_them_too(example_run: Path) -> None:
    folder = example_run / "evaluation"
    folder.mkdir()
    numbers = {
        "eval/success": 0.5,
        "eval/success_low": 0.4,
        "eval/success_high": 0.6,
        "eval/pass@4": 0.75,
        "questions": 8,
    }
    (folder / "report.json").write_text(json.dumps({"task": "atlas", **numbers}))
    (part,) = learned(open_source(folder))["report"]
    assert part["figures"] == [
        ["success, sampled", 0.5, 0.4, 0.6, "share"],
        ["at least one of 4 samples", 0.75, None, None, "share"],
        ["questions", 8, None, None, ""],
    ]
    (inside,) = views.view([open_source(example_run)], live=True)["runs"][0]["evaluations"]
    assert inside == {"name": "evaluation", "key": "0.0", "report": [part]}


def test_a_folder_of_runs_is_listed(example_run: Path, tmp_path: Path) -> None:
    shutil.copytree(example_run, tmp_path / "runs" / "other")
    found = runs_in(tmp_path / "runs")
    assert {path.name for path in found} == {"example", "other"}
    rows = views.runs([open_source(path) for path in found], tmp_path / "runs")["runs"]
    assert {row["name"] for row in rows} == {"example", "other"}
    assert all(row["step"] == 60 and row["success"] == [0.45, 0.7] and not row["alarm"] for row in rows)
    assert runs_in(example_run) == []


@pytest.mark.parametrize("line", ["{", '{"format": 9}'])
def test_a_broken_file_is_named(example_run: Path, line: str) -> None:
    (example_run / "outcomes").mkdir()
    (example_run / "outcomes" / "step-000000.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match="step-000000"):
        learned(open_source(example_run))
