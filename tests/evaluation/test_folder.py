"""An evaluation's folder: nothing is mixed, a half-written line is dropped, a broken one is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aepo.evaluation.folder import EvaluationFolder
from aepo.rewards.judge import Judgement, Verdict
from aepo.types import Sample
from tests.evaluation.scripted import answered, scored

SETTINGS = {"model": "m", "samples": 2, "tools.gsm8k": ["python"]}


@pytest.fixture
def folder(tmp_path: Path) -> EvaluationFolder:
    made = EvaluationFolder(tmp_path / "out")
    made.begin(SETTINGS, resume=False, names=["gsm8k"])
    return made


def answers(folder: EvaluationFolder) -> Path:
    return folder.path / "gsm8k" / "answers.jsonl"


def test_answers_are_appended_and_what_is_left_is_known(folder: EvaluationFolder) -> None:
    first, second = answered("a", ["1"], "1", "2"), answered("b", ["1"], None, "\u2028")
    for part in ([first], [second]):
        folder.keep_answers("gsm8k", str, part, [])
    assert folder.answers("gsm8k") == [first, second]
    samples = [Sample(f"question {id}", "1", id) for id in "abc"]
    assert folder.open_questions("gsm8k", samples) == samples[2:]
    assert len(list((folder.path / "gsm8k" / "trees").iterdir())) == 2


def test_a_line_that_was_left_half_is_dropped_before_more_is_written(folder: EvaluationFolder) -> None:
    folder.keep_answers("gsm8k", str, [answered("a", ["1"], "1")], [])
    with answers(folder).open("ab") as file:
        file.write(answered("b", ["1"], "ü").to_line().encode()[:-9])
    assert [one.id for one in folder.answers("gsm8k")] == ["a"]
    folder.keep_answers("gsm8k", str, [answered("b", ["1"], "1")], [])
    assert [one.id for one in folder.answers("gsm8k")] == ["a", "b"]


def test_a_broken_line_is_named(folder: EvaluationFolder) -> None:
    folder.keep_answers("gsm8k", str, [answered("a", ["1"], "1")], [])
    with answers(folder).open("ab") as file:
        file.write(b'{"format": 9}\n')
    with pytest.raises(ValueError, match=r"answers\.jsonl, line 2: no answers of format 1"):
        folder.answers("gsm8k")


def test_another_question_under_a_known_id_is_refused(folder: EvaluationFolder) -> None:
    folder.keep_answers("gsm8k", str, [answered("a", ["1"], "1")], [])
    with pytest.raises(ValueError, match="question 'a' of gsm8k is another one now"):
        folder.open_questions("gsm8k", [Sample("changed", "1", "a")])


def test_a_folder_is_used_again_only_to_go_on_with_the_same(folder: EvaluationFolder) -> None:
    folder.keep_answers("gsm8k", str, [answered("a", ["1"], "1")], [])
    with pytest.raises(ValueError, match="holds an evaluation on gsm8k: go on with --resume, or choose another --out"):
        folder.begin(SETTINGS, resume=False, names=["gsm8k", "hle"])
    folder.begin(SETTINGS, resume=True, names=["gsm8k"])
    with pytest.raises(ValueError, match=r"cannot add to .*: samples was 2 and is now 5; set it back"):
        folder.begin({**SETTINGS, "samples": 5}, resume=True, names=["gsm8k"])
    with pytest.raises(ValueError, match=r"tools\.gsm8k was \['python'\] and is now \[\]"):
        folder.begin({**SETTINGS, "tools.gsm8k": []}, resume=True, names=["gsm8k"])


def test_a_data_set_may_be_added_and_is_then_fixed_too(folder: EvaluationFolder) -> None:
    folder.keep_answers("gsm8k", str, [answered("a", ["1"], "1")], [])
    folder.begin({"model": "m", "samples": 2, "tools.hle": []}, resume=False, names=["hle"])
    assert folder.settings() == {**SETTINGS, "tools.hle": []}


def test_a_folder_of_something_else_or_of_another_version_is_one_line(tmp_path: Path) -> None:
    empty = EvaluationFolder(tmp_path)
    with pytest.raises(ValueError, match=r"no evaluation on data sets in .*: it has no settings\.json"):
        empty.settings()
    for text in ("{", "[]", json.dumps({"format": 99, "model": "m"})):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ValueError, match=r"settings\.json"):
            empty.settings()


def test_verdicts_and_results_read_back_equal(folder: EvaluationFolder) -> None:
    one = scored("a", True, False, f1=[1.0, 0.5])
    folder.keep_answers("gsm8k", str, [one.answered], [])
    with pytest.raises(ValueError, match="gsm8k was not scored in"):
        folder.results("gsm8k", "GSM8K")
    folder.save_results("gsm8k", [one])
    assert list(folder.results("gsm8k", "GSM8K").scored) == [one]
    verdict = Judgement("a", "q", ("1",), "x", "p", "m", "A\n", Verdict.CORRECT)
    folder.keep_verdict("gsm8k", verdict)
    assert folder.verdicts("gsm8k") == [verdict] and folder.verdicts("hle") == []
