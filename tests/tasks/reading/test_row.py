"""A row is read in the field names that circulate, and a wrong one is named with what was found."""

from __future__ import annotations

import re

import pytest

from aepo.tasks.reading.row import DataError, Row


def row(**fields: object) -> Row:
    return Row(fields, "some.jsonl, line 7")


def test_names_are_compared_without_case_and_blanks_are_underscores() -> None:
    assert Row({"Final answer": "17", "Question": "?"}, "x").text("final_answer") == "17"
    assert row(Answer="yes").texts("answer", "golden_answers") == ["yes"]


def test_the_first_name_that_has_a_value_counts() -> None:
    assert row(question=None, problem=" What? ").text("question", "problem") == "What?"
    assert row(question="a", problem="b").text("problem", "question") == "b"


def test_a_list_of_aliases_keeps_its_order_and_each_alias_once() -> None:
    assert row(golden_answers=["NYC", "New York", "NYC"]).texts("answer", "golden_answers") == ["NYC", "New York"]
    assert row(answer=204).texts("answer") == ["204"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"q": 1, "a": 2}, "no field 'question' (or 'problem'); found: q, a"),
        ({}, "no field 'question' (or 'problem'); found: no fields"),
        ({"question": "  "}, "field 'question' is blank"),
        ({"question": ["?"]}, "field 'question' is a list, it must be text"),
        ({"question": True}, "field 'question' is a bool, it must be text"),
    ],
)
def test_a_wrong_row_names_the_file_the_line_and_the_field(fields: dict[str, object], line: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"some.jsonl, line 7: {line}")):
        Row(fields, "some.jsonl, line 7").text("question", "problem")


def test_wrong_aliases_are_named_too() -> None:
    with pytest.raises(DataError, match="field 'answer' is an empty list"):
        row(answer=[]).texts("answer")
    with pytest.raises(DataError, match="field 'answer' is a dict, it must be text"):
        row(answer=[{"text": "x"}]).texts("answer")


def test_a_wide_row_is_not_listed_whole() -> None:
    with pytest.raises(DataError, match=r"found: f0, f1, .*f19, \.\.\.$"):
        row(**{f"f{i}": i for i in range(50)}).text("question")


def test_ids_are_the_publishers_or_follow_from_the_question_alone() -> None:
    assert row(unique_id="test/1.json").id("math500", "?", "unique_id", "id") == "test/1.json"
    assert row(id=60).id("aime24", "?", "id") == row(id="60").id("aime24", "?", "id") == "aime24-60"
    made = row(a=1).id("gsm8k", "How many?", "id")
    assert made == Row({"b": 2}, "elsewhere").id("gsm8k", "How many?", "id")
    assert made.startswith("gsm8k-") and made != row().id("gsm8k", "How much?", "id")
