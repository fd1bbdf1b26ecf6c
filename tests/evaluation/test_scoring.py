"""Scores against hand counts; what a judge says is kept, used again, and never guessed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
import pytest

from aepo.evaluation.answers import Answered
from aepo.evaluation.scoring import JudgeError, Scored, score_answers
from aepo.rewards.judge import GRADED, YES_NO, Judge, Judgement, Prompt, Verdict
from aepo.tasks.reading.base import Method
from tests.evaluation.scripted import answered, scored


def score(questions: Sequence[Answered], method: Method) -> list[Scored]:
    async def main() -> list[Scored]:
        return await score_answers(questions, method, GRADED)

    return anyio.run(main)


def test_mathematics_compares_values() -> None:
    (found,) = score([answered("q", ["1018"], "1,018", "1018.0", "\\boxed{1018}", "1017", None)], "math")
    assert found.correct == (True, True, True, False, False) and found.f1 is None and found.score == "math"
    assert [found.passes(k) for k in (1, 2, 5)] == pytest.approx([0.6, 0.9, 1.0])


def test_words_compare_with_the_best_alias_and_give_f1() -> None:
    (found,) = score(
        [answered("q", ["Frank Lowy", "Sir Frank P. Lowy"], "frank lowy!", "Frank", "Sir Frank Lowy", None)], "words"
    )
    assert found.correct == (True, False, False, False)
    assert found.f1 == pytest.approx((1.0, 2 / 3, 6 / 7, 0.0))


def test_a_yes_that_says_more_scores_nothing() -> None:
    (found,) = score([answered("q", ["yes"], "Yes", "yes, both are", "no")], "words")
    assert found.correct == (True, False, False) and found.f1 == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("method", ["math", "words"])
def test_a_question_without_a_target_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="sample 'q' has no target"):
        score([answered("q", [""], "x")], method)


class Scripted:
    """A judge that replies by what the answer contains, and remembers what it was asked."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.replies, self.asked = replies, list[str]()

    async def __call__(self, prompt: str) -> str:
        answer = prompt.split("<answer>\n")[1].split("\n</answer>")[0]
        self.asked.append(answer)
        if answer == "crash":
            raise OSError("no route")
        return self.replies[answer]


def judged(
    script: Scripted,
    questions: Sequence[Answered],
    known: Sequence[Judgement] = (),
    prompt: Prompt = GRADED,
    model: str = "j",
    kept: list[Judgement] | None = None,
) -> tuple[list[Scored], list[Judgement]]:
    new: list[Judgement] = [] if kept is None else kept

    async def main() -> list[Scored]:
        return await score_answers(questions, "judge", prompt, Judge(script, model), known, new.append)

    return anyio.run(main), new


REPLIES = {"right": "A", "wrong": "B", "well": "C", "odd": "As an AI, I like it."}
QUESTIONS = [
    answered("q1", ["t"], "right", "wrong", "right", None),
    answered("q2", ["t"], "odd", "right", "well", "odd"),
]


def test_verdicts_become_scores_and_nonsense_is_neither_right_nor_wrong() -> None:
    found, kept = judged(Scripted(REPLIES), QUESTIONS)
    assert [one.correct for one in found] == [(True, False, True, False), (None, True, False, None)]
    assert found[0].score == f"judge:{GRADED.version}:j" and found[0].f1 is None
    assert found[1].passes(1) == 0.5 and found[1].passes(2) == 1.0 and math.isnan(found[1].passes(3))
    assert (found[1].passes(1, False), found[1].passes(1, True)) == (0.25, 0.75)
    assert {one.verdict for one in kept} == set(Verdict)


def test_equal_answers_of_a_question_are_judged_once_and_none_never() -> None:
    script = Scripted(REPLIES)
    _, kept = judged(script, QUESTIONS)
    assert sorted(script.asked) == ["odd", "right", "right", "well", "wrong"]
    assert len(kept) == 6


def test_what_was_judged_before_is_not_asked_again_unless_it_could_not_be_read() -> None:
    before, kept = judged(Scripted(REPLIES), QUESTIONS)
    script = Scripted({"odd": "B"})
    after, new = judged(script, QUESTIONS, kept)
    assert script.asked == ["odd"] and [one.answer for one in new] == ["odd"]
    assert after[0] == before[0] and after[1].correct == (False, True, False, False)


@pytest.mark.parametrize(("prompt", "model"), [(YES_NO, "j"), (GRADED, "another")])
def test_another_prompt_or_judge_is_asked_everything(prompt: Prompt, model: str) -> None:
    _, kept = judged(Scripted(REPLIES), QUESTIONS)
    script = Scripted(dict.fromkeys(REPLIES, "no" if prompt is YES_NO else "B"))
    found, _ = judged(script, QUESTIONS, kept, prompt, model)
    assert len(script.asked) == 5
    assert [one.correct for one in found] == [(False,) * 4] * 2


def test_a_judge_that_fails_is_named_with_its_question_and_keeps_what_it_said() -> None:
    kept: list[Judgement] = []
    questions = [answered("q1", ["t"], "right"), answered("q2", ["t"], "crash")]
    with pytest.raises(JudgeError, match="judge j failed on question 'q2': OSError: no route"):
        judged(Scripted(REPLIES), questions, kept=kept)
    assert all(one.id == "q1" for one in kept)


def test_without_a_judge_nothing_is_guessed() -> None:
    with pytest.raises(ValueError, match="scored by a judge, and there is none"):
        score(QUESTIONS, "judge")


def test_a_result_reads_back_equal_with_its_answers_only() -> None:
    one = scored("q", True, None, f1=[1.0, 0.5])
    assert Scored.from_line(one.to_line(), {"q": one.answered}) == one
    with pytest.raises(ValueError, match="question 'q' has other answers now"):
        Scored.from_line(one.to_line(), {"q": answered("q", ["x"], "z", "y")})
    for line in ("[]", '{"format": 2}', '{"format": 1}', one.to_line()):
        with pytest.raises(ValueError):
            Scored.from_line(line, {})
