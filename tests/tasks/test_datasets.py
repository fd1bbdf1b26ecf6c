"""Each data set in its published form and in those that circulate; the rows are invented."""

from __future__ import annotations

import base64
import json
import os
import re
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from aepo.rewards import math, paper
from aepo.tasks import load
from aepo.tasks.datasets import _MODULES, NAMES, find
from aepo.tasks.datasets.xbench import decoded
from aepo.tasks.reading import DataError, Row, load_samples
from aepo.tools.sandbox.base import SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.types import Sample

DATA = Path(os.environ.get("AEPO_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def sample(name: str, **fields: Any) -> Sample:
    return find(name).sample(Row(fields, "a row"))


def encrypted(text: str, key: str) -> str:
    data = text.encode()
    return base64.b64encode(bytes(a ^ b for a, b in zip(data, cycle(key.encode()), strict=False))).decode()


PUBLISHED: list[tuple[str, dict[str, Any], str, str | list[str], str | None]] = [
    ("aime24", {"id": 61, "problem": "P?", "solution": "S", "answer": "204", "year": "2024"}, "P?", "204", "aime24-61"),
    ("aime24", {"ID": "2024-I-1", "Problem": "P?", "Solution": "S", "Answer": 204}, "P?", "204", "2024-I-1"),
    ("aime24", {"id": 3, "problem": "P?", "solution": "\\boxed{025}", "url": "u"}, "P?", "025", "aime24-3"),
    ("aime25", {"problem": "P?", "answer": "70", "id": "0"}, "P?", "70", "aime25-0"),
    ("aime25", {"question": "P?", "answer": "70"}, "P?", "70", None),
    (
        "math500",
        {
            "problem": "P?",
            "solution": "...",
            "answer": "\\frac{5}{6}",
            "subject": "A",
            "level": 2,
            "unique_id": "test/1",
        },
        "P?",
        "\\frac{5}{6}",
        "test/1",
    ),
    ("gsm8k", {"question": "P?", "answer": "3*6=<<3*6=18>>18.\n#### 1,018"}, "P?", "1018", None),
    ("gsm8k", {"question": "P?", "answer": "-5"}, "P?", "-5", None),
    (
        "math",
        {
            "problem": "P?",
            "level": "Level 1",
            "type": "Algebra",
            "solution": "First \\boxed{1}, so $\\boxed{\\frac{1}{2}}$.",
        },
        "P?",
        "\\frac{1}{2}",
        None,
    ),
    (
        "hotpotqa",
        {
            "id": "5a",
            "question": "Q?",
            "answer": "yes",
            "type": "comparison",
            "level": "hard",
            "context": {"title": []},
        },
        "Q?",
        ["yes"],
        "5a",
    ),
    ("hotpotqa", {"_id": "5a", "question": "Q?", "answer": "no"}, "Q?", ["no"], "5a"),
    ("2wiki", {"id": "88", "question": "Q?", "answer": "Rome", "type": "compositional"}, "Q?", ["Rome"], "2wiki-88"),
    ("2wiki", {"id": "dev_1", "question": "Q?", "golden_answers": ["Rome", "Roma"]}, "Q?", ["Rome", "Roma"], "dev_1"),
    (
        "musique",
        {"id": "2hop__1_2", "question": "Q?", "answer": "A", "answer_aliases": ["A", "B"], "answerable": True},
        "Q?",
        ["A", "B"],
        "2hop__1_2",
    ),
    ("musique", {"id": "2hop__1_2", "question": "Q?", "answer": "A", "answer_aliases": []}, "Q?", ["A"], "2hop__1_2"),
    ("bamboogle", {"Question": "Q?", "Answer": "a king"}, "Q?", ["a king"], None),
    (
        "webwalkerqa",
        {"question": "Q?", "answer": "At six.", "root_url": "https://i.example", "info": {"lang": "en"}},
        "Q?",
        ["At six."],
        None,
    ),
    (
        "gaia",
        {"task_id": "c-1", "Question": "Q?", "Level": "1", "Final answer": "7", "file_name": "", "file_path": ""},
        "Q?",
        ["7"],
        "c-1",
    ),
    (
        "hle",
        {"id": "66", "question": "Q?", "image": "", "answer": "C", "answer_type": "multipleChoice"},
        "Q?",
        ["C"],
        None,
    ),
    (
        "xbench",
        {"id": "1", "prompt": encrypted("哪一年?", "k-é"), "answer": encrypted("1999年", "k-é"), "canary": "k-é"},
        "哪一年?",
        ["1999年"],
        "xbench-1",
    ),
    ("xbench", {"id": "1", "prompt": "哪一年?", "answer": "1999", "canary": "key"}, "哪一年?", ["1999"], "xbench-1"),
    ("xbench", {"question": "哪一年?", "answer": ["1999"]}, "哪一年?", ["1999"], None),
    ("simpleqa", {"metadata": "{'topic': 'x'}", "problem": "Q?", "answer": "161"}, "Q?", ["161"], None),
]


@pytest.mark.parametrize(("name", "fields", "question", "target", "id"), PUBLISHED)
def test_a_row_becomes_a_sample(
    name: str, fields: dict[str, Any], question: str, target: str | list[str], id: str | None
) -> None:
    made = sample(name, **fields)
    assert (made.question, made.target) == (question, target)
    assert made.id == id if id else made.id.startswith(f"{name}-")
    json.dumps(made.metadata)


@pytest.mark.parametrize("name", NAMES)
def test_question_and_answer_lines_with_one_answer_or_aliases_are_read_by_all(name: str, tmp_path: Path) -> None:
    answers: list[Any] = ["#### 5"] if name == "gsm8k" else ["5", ["5", "five"]]
    rows = [{"question": f"Q{n}?", "answer": answer} for n, answer in enumerate(answers)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(load_samples(find(name), tmp_path / "rows.jsonl").samples) == len(answers)


@pytest.mark.parametrize("name", NAMES)
def test_each_names_the_missing_field_and_those_found(name: str) -> None:
    for fields, missing in (({"Query": "?", "answer": "#### 1"}, ""), ({"question": "?", "label": "1"}, "label")):
        with pytest.raises(DataError, match=rf"^a row: no field .*; found: .*{missing}"):
            find(name).sample(Row(fields, "a row"))


@pytest.mark.parametrize("name", NAMES)
def test_each_says_where_it_is_from_and_under_what_licence(name: str) -> None:
    data_set = find(name)
    told = import_module(f"aepo.tasks.datasets.{_MODULES.get(name, name)}").__doc__ or ""
    assert data_set.name == name and data_set.rows > 0
    for part in (data_set.hub.repository, data_set.hub.split, "Licence:", "Score:", '{"'):
        assert part in told, part
    assert ("**Gated**" in told) == data_set.gated
    assert (f"{data_set.rows:,} rows" in told) or (f"{data_set.rows} problems" in told)


def test_they_are_the_fourteen_of_the_paper() -> None:
    assert len(set(NAMES)) == 14
    assert [name for name in NAMES if find(name).gated] == ["gaia", "hle"]
    assert find(" GSM8K ") is find("gsm8k")
    with pytest.raises(DataError, match="unknown data set 'hotpot': did you mean 'hotpotqa'"):
        find("hotpot")


@pytest.mark.parametrize(
    ("name", "rows", "left_out"),
    [
        ("gaia", [{"file_name": ""}, {"file_name": "a.xlsx"}, {"file_name": None}], {"a file": 1}),
        ("hle", [{"image": ""}, {"image": "data:image/png;base64,"}, {}], {"an image": 1}),
        ("musique", [{"answerable": True}, {"answerable": False}, {}], {"an answer (it is marked unanswerable)": 1}),
    ],
)
def test_rows_that_need_more_than_text_are_left_out_and_counted(
    name: str, rows: list[dict[str, Any]], left_out: dict[str, int], tmp_path: Path
) -> None:
    whole = [{"id": f"r{n}", "question": f"Q{n}?", "answer": "x", **row} for n, row in enumerate(rows)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, whole)))
    loaded = load_samples(find(name), path)
    assert [s.id for s in loaded.samples] == ["r0", "r2"] and loaded.left_out == left_out
    with pytest.raises(DataError, match=f"question 'r1' needs {re.escape(next(iter(left_out)))}"):
        load_samples(find(name), path, ["r0", "r1"])


def test_an_answer_that_is_no_number_is_no_gsm8k_row() -> None:
    for answer in ("eighteen", "#### about 18", "18 #### ", ["#### 1", "#### 2"]):
        with pytest.raises(DataError, match="does not end with '#### <number>'"):
            sample("gsm8k", question="?", answer=answer)


def test_a_solution_without_a_box_is_no_math_row() -> None:
    with pytest.raises(DataError, match=r"no field 'answer', and field 'solution' has no \\boxed"):
        sample("math", problem="?", solution="It is 3.")


def test_xbench_is_decoded_with_the_rows_own_key() -> None:
    assert decoded(encrypted("答案 a", "some-canary"), "some-canary") == "答案 a"
    with pytest.raises(DataError, match="cannot be decoded with the row's 'canary'"):
        sample(
            "xbench", prompt=encrypted("哪一年哪一年", "right"), answer=encrypted("年", "right"), canary="wr\u00f6ng!"
        )


def test_the_paper_reward_scores_mathematics_as_mathematics() -> None:
    assert {find(name).method: sample(name, question="?", answer="#### 1").metadata["score"] for name in NAMES} == {
        "math": "math",
        "words": "f1",
        "judge": "f1",
    }


ROWS = {
    "2wiki": 200,
    "SimpleQA": 500,
    "bamboogle": 125,
    "gsm8k": 1319,
    "hotpotqa": 200,
    "math500": 500,
    "musique": 200,
}


@pytest.mark.parametrize("file", ROWS)
def test_real_rows_are_read_to_the_last(file: str) -> None:
    path = DATA / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {DATA}: set AEPO_TEST_DATA")
    data_set = find(file)
    samples = load_samples(data_set, path).samples
    assert len(samples) == len({s.id for s in samples}) == ROWS[file]
    assert all(s.question and s.target for s in samples)


def test_a_data_set_is_a_task_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a?", "answer": "#### 1"}\n{"question": "b?", "answer": "#### 2"}')
    task = load("gsm8k", {"data": str(path), "tools": []})
    assert (task.name, [s.target for s in task.samples], list(task.tools)) == ("gsm8k", ["1", "2"], [])
    assert task.reward is math
    assert load("gsm8k", {"data": str(path), "tools": [], "reward": "paper"}).reward is paper
    one = load("gsm8k", {"data": str(path), "tools": [], "ids": [task.samples[1].id]})
    assert one.samples == task.samples[1:]


def test_a_data_set_is_searched_in_a_corpus_or_without(tmp_path: Path) -> None:
    path, corpus = tmp_path / "rows.jsonl", tmp_path / "corpus.jsonl"
    path.write_text('{"question": "a?", "answer": "x"}')
    corpus.write_text('{"title": "t", "text": "some text"}')
    with pytest.raises(ValueError, match=r"hotpotqa is answered by searching: give a corpus"):
        load("hotpotqa", {"data": str(path)})
    found = load("hotpotqa", {"data": str(path), "corpus": str(corpus), "tools": ["search", "tests.tiny:search"]})
    assert [tool.name for tool in found.tools] == ["search", "search"]
    wrong = {"serch": "unknown tool 'serch'", "tests.tiny:no": "cannot be imported", "math:tau": "is a float"}
    for tool, line in wrong.items():
        with pytest.raises(ValueError, match=line):
            load("hotpotqa", {"data": str(path), "tools": [tool]})


def test_data_sets_that_stand_on_pages_of_the_web_are_asked_with_browse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a?", "answer": "x"}')
    visiting = {name for name in NAMES if "browse" in find(name).tools}
    assert visiting == {"webwalkerqa", "gaia", "xbench"}
    try:
        choose(packages="host")
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    task = load("webwalkerqa", {"data": str(path), "tools": ["browse"]})
    assert [tool.name for tool in task.tools] == ["browse"]
    monkeypatch.setattr("aepo.tools.pages.browse.HOST", None)
    with pytest.raises(ValueError, match=r"tool browse: .*pip install 'aepo-rl\[pages\]'.*or leave it out of --tools"):
        load("webwalkerqa", {"data": str(path), "tools": ["browse"]})


def test_what_a_judge_scores_is_no_reward_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a?", "answer": "x"}')
    task = load("simpleqa", {"data": str(path), "tools": []})
    with pytest.raises(ValueError, match="scored by a judge: evaluate it with `aepo eval NAME"):
        task.reward(task.samples[0], None)
    with pytest.raises(ValueError, match="unknown reward 'fi'"):
        load("simpleqa", {"data": str(path), "tools": [], "reward": "fi"})
