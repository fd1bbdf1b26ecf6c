"""Answers are kept apart from their scores, part by part, and do not depend on the parts."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest

from aepo.evaluation.answers import Answer, Answered, ask
from aepo.types import Group, Sample
from tests.evaluation.scripted import agent, answered

SAMPLES = [Sample(f"Q{n}", ["a", "b"] if n else "a", id=f"q{n}") for n in range(5)]
SCRIPT = {f"Q{n}": [f"yes{n}", "?no", None] for n in range(5)}


def asked(at_once: int = 128, limit: int = 1000) -> list[list[Answered]]:
    parts: list[list[Answered]] = []

    def keep(part: list[Answered], groups: list[Group]) -> None:
        assert [group.sample.id for group in groups] == [one.id for one in part]
        parts.append(part)

    anyio.run(ask, SAMPLES, agent(SCRIPT, SAMPLES, at_once=at_once, limit=limit), 3, 0, keep)
    return parts


def test_every_question_is_answered_as_often_as_asked_and_in_order() -> None:
    (part,) = asked()
    assert [one.id for one in part] == ["q0", "q1", "q2", "q3", "q4"]
    assert [[a.text for a in one.answers] for one in part] == [[f"yes{n}", "no", None] for n in range(5)]
    assert part[0].targets == ("a",) and part[1].targets == ("a", "b")


def test_calls_and_tokens_are_those_of_each_trajectory() -> None:
    (part,) = asked()
    # "yes0" and its end; a call, then "no" and its end; an end.
    assert [(a.calls, a.tokens) for a in part[0].answers] == [(0, 5), (1, 4), (0, 1)]
    assert (part[0].calls, part[0].tokens) == (pytest.approx(1 / 3), pytest.approx(10 / 3))


def test_what_a_limit_ended_is_marked() -> None:
    assert not any(a.cut_off for one in asked()[0] for a in one.answers)
    (part,) = asked(limit=3)
    assert [a.cut_off for a in part[0].answers] == [True, True, False]
    assert replace(part[0].answers[2], stop_reason="time").cut_off


def test_parts_follow_the_room_of_the_engine_and_change_no_answer() -> None:
    parts = asked(at_once=3)
    assert [len(part) for part in parts] == [4, 1]
    assert [one.answers for part in parts for one in part] == [one.answers for one in asked()[0]]


def test_each_question_bears_its_share_of_the_time() -> None:
    (part,) = asked()
    assert len({one.seconds for one in part}) == 1 and part[0].seconds > 0


def test_what_is_written_reads_back_equal() -> None:
    strange = Answered(
        "ö\u2028", "a\nb", ("x", "y"), (Answer(None, "end", 0, 1), Answer("\u2028", "answer", 2, 9)), 0.25
    )
    for one in (strange, answered("q", ["x"], "x", None)):
        assert Answered.from_line(one.to_line()) == one and "\n" not in one.to_line()


@pytest.mark.parametrize("line", ["{", "[]", "{}", json.dumps({"format": 2}), json.dumps({"format": 1, "id": "q"})])
def test_a_broken_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        Answered.from_line(line)
