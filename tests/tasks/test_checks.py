"""A question that cannot be asked, scored or kept is refused where the task is built, in one line that names it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

import aepo
from aepo.tasks.identity import difference, identity
from tests import tiny

Q = aepo.Sample


@pytest.mark.parametrize(
    ("samples", "line"),
    [
        (
            [Q("a"), Q("What?", 42)],
            "task 't': sample 1: its target is 42 (int): write a text or a list of texts, e.g. '42' (it",
        ),
        (
            [Q("What?", 4.5, id="x")],
            "sample 0 'x': its target is 4.5 (float): write a text or a list of texts, e.g. '4.5'",
        ),
        ([Q("What?", None)], "its target is None (NoneType): write a text or a list of texts"),
        ([Q("What?", True)], "its target is True (bool): write a text or a list of texts"),
        ([Q("What?", ("a", "b"))], "its target is ('a', 'b') (tuple)"),
        ([Q("What?", {"a": 1})], "its target is {'a': 1} (dict)"),
        ([Q("What?", [1984, "x"])], "its target is 1984 (int)"),
        ([Q("What?", ["x", None])], "its target is None (NoneType)"),
        ([Q("What?", [])], "its target is a list with nothing in it"),
        ([Q("What?", ["x", " "])], "its target is a list with nothing in it, or with an empty text"),
        ([Q("What?", "half \ud83c")], "its target holds half of a surrogate pair"),
        ([Q(12, "a")], "sample 0: its question is 12 (int): write a text, e.g. '12'"),
        ([Q(None, "a")], "its question is None"),
        ([Q("  \n", "a")], "its question is empty"),
        ([Q([{"role": "user", "content": "Who?"}], "a")], "its question is [{'role': 'user'"),
        ([Q("half \udc00", "a")], "its question holds half of a surrogate pair"),
        ([Q("a", "b", 7)], "its id is 7 (int): write a text, e.g. '7'"),
        ([Q("a", "b", None)], "its id is None"),
        ([Q("a", "b", "\ud800")], "its id holds half of a surrogate pair"),
        ([Q("a", "b", metadata=None)], "its metadata is a NoneType: write an object"),
        ([Q("a", "b", metadata=[("k", 1)])], "its metadata is a list"),
        ([Q("a", "b", metadata={"m": {1, 2}})], "metadata['m'] is a set, which JSON cannot hold"),
        ([{"question": "a"}], "sample 0 is a dict: make it an aepo.Sample(question, target)"),
        ([Q("a"), None], "sample 1 is a NoneType"),
        ("ab", "sample 0 is a str"),
        (Q("a"), "give a list of aepo.Sample, not a Sample"),
        (None, "give a list of aepo.Sample, not a NoneType"),
        (5, "give a list of aepo.Sample, not a int"),
        ([], "task 't' has no samples"),
        (iter([]), "task 't' has no samples"),
        ([Q("a", id="x"), Q("b", id="x")], "two samples have the id 'x'"),
        ([Q("a"), Q("b", id="t-0")], "two samples have the id 't-0'"),
    ],
)
def test_a_sample_that_cannot_be_used_is_named(samples: Any, line: str) -> None:
    with pytest.raises(ValueError) as error:
        aepo.Task("t", samples)
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_held_out_sample_is_checked_too() -> None:
    with pytest.raises(ValueError, match="task 't', held_out: sample 0: its target is 5"):
        aepo.Task("t", [Q("another")], held_out=[Q("a", 5)])


def test_a_question_that_is_both_trained_on_and_held_out_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    held_out = [Q(" Who? \n", "y", "mine"), Q("Why?", "z"), Q("Who?", "x")]
    task = aepo.Task("told", [Q("Who?", "x")], held_out=held_out)
    replace(task, tools=[])
    assert caplog.messages == [
        "task 'told': held-out sample 'mine' asks the same as sample 'told-0', which is trained on (' Who? \\n'); "
        "so do 1 more"
    ]


def test_a_held_out_question_has_an_id_of_its_own() -> None:
    with pytest.raises(ValueError, match="two samples have the id 't-0', one is held out"):
        aepo.Task("t", [Q("Who?", "x")], held_out=[Q("Who else?", "y", "t-0")])


@dataclass(frozen=True)
class Priced(aepo.Sample):
    price: float = 0.0


class Own(aepo.Sample):
    def __init__(self, text: str) -> None:
        super().__init__(text)


def test_generators_and_samples_of_a_class_of_ones_own_are_taken() -> None:
    task = aepo.Task("t", (sample for sample in [Priced("a", price=2.0), Own("b")]))
    assert [sample.id for sample in task.samples] == ["t-0", "t-1"]
    assert task.samples[0].price == 2.0 and isinstance(task.samples[1], Own)


def test_an_evaluation_on_other_questions_checks_them_too(model_folder: Any) -> None:
    with pytest.raises(ValueError, match="questions: sample 0: its target is 5"):
        aepo.evaluate(aepo.load_policy(str(model_folder)), tiny.letters(), questions=[Q("a", 5)])


def changed(**changes: Any) -> aepo.Task:
    fields = {"samples": [Q("a", "1", "x"), Q("b", ["2"], "y", {"k": 1})], "held_out": [Q("c", "3", "z")]}
    return aepo.Task("t", **{**fields, "tools": [tiny.search], "system": "s", **changes})


@aepo.tool(name="search")
def other(query: str) -> str:
    """Look something else up.

    Args:
        query: What to look up.
    """
    return query


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (changed(), None),
        (changed(samples=(Q("a", "1", "x"), Q("b", ["2"], "y", {"k": 1}))), None),
        (changed(samples=[Q("a!", "1", "x"), Q("b", ["2"], "y", {"k": 1})]), "question 'x' has changed"),
        (changed(samples=[Q("a", "1", "x"), Q("b", "2", "y", {"k": 1})]), "question 'y' has changed"),
        (changed(samples=[Q("a", "1", "x"), Q("b", ["2"], "y", {"k": 2})]), "question 'y' has changed"),
        (changed(samples=[Q("a", "1", "x")]), "question 'y' is gone"),
        (changed(samples=[Q("n"), Q("a", "1", "x"), Q("m"), Q("b", ["2"], "y", {"k": 1})]),
         "question 't-0' is new, and 1 more like it"),
        (changed(samples=[Q("b", ["2"], "y", {"k": 1}), Q("a", "1", "x")]),
         "the order of the questions has changed, from 'y' on,"),
        (changed(held_out=[Q("c", "4", "z")]), "held-out question 'z' has changed"),
        (changed(held_out=[]), "held-out question 'z' is gone"),
        (changed(tools=[other]), "tool 'search' has changed"),
        (changed(tools=[]), "tool 'search' is gone"),
        (changed(system=None), "the system message has changed"),
    ],
)  # fmt: skip
def test_what_makes_it_another_task_is_named(task: aepo.Task, words: str | None) -> None:
    assert difference(identity(changed()), identity(task)) == words
    assert difference({}, identity(task)) is None, "an older version kept nothing"
