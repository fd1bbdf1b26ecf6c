"""Scores answers by mathematical equality, by words, or by a judge.

An answer whose verdict cannot be read is neither right nor wrong. It is `None` here, and figures leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread

from aepo.evaluation.answers import Answered
from aepo.evaluation.passk import pass_at_k
from aepo.files.formats import fields_of, to_line
from aepo.process.user_code import original, told
from aepo.rewards.answer import exact_match, token_f1
from aepo.rewards.judge import Judge, Judgement, Prompt, Verdict, judge
from aepo.rewards.math import equivalent
from aepo.rewards.score import AT_ONCE
from aepo.tasks.reading.base import Method

FORMAT = 1
_READ: Mapping[Verdict, bool | None] = {
    Verdict.CORRECT: True,
    Verdict.INCORRECT: False,
    Verdict.NOT_ATTEMPTED: False,
    Verdict.UNREADABLE: None,
}


class JudgeError(RuntimeError):
    """A judge failed; the message names the question."""


@dataclass(frozen=True)
class Scored:
    """One question with the scores of its answers.

    Attributes:
        answered: The question and its answers.
        score: The kind of score: "math", "words", or "judge:<prompt>:<model>".
        correct: Whether each answer is correct; None where the judge's verdict cannot be read.
        f1: The F1 of each answer; None where words are not compared.
    """

    answered: Answered
    score: str
    correct: tuple[bool | None, ...]
    f1: tuple[float, ...] | None = None

    def passes(self, k: int, unreadable: bool | None = None) -> float:
        """Unbiased Pass@k of this question; NaN with fewer than k answers that could be read.

        Args:
            k: Number of attempts.
            unreadable: The value of unreadable answers; None leaves them out.
        """
        known = [unreadable if one is None else one for one in self.correct]
        counted = [one for one in known if one is not None]
        return pass_at_k(len(counted), sum(counted), k)

    def to_line(self) -> str:
        """One JSON object with scores, answers and costs; `from_line` reads it back equal, given the answers."""
        kept = {"id": self.answered.id, "score": self.score, "correct": self.correct, "f1": self.f1}
        about = {"targets": self.answered.targets, "answers": [answer.text for answer in self.answered.answers]}
        costs = {"calls": self.answered.calls, "tokens": self.answered.tokens, "seconds": self.answered.seconds}
        return to_line(FORMAT, kept | about | costs)

    @classmethod
    def from_line(cls, line: str, answered: Mapping[str, Answered]) -> Scored:
        """Read the result of `to_line`.

        Args:
            line: The JSON object.
            answered: The questions with their answers, by id.

        Raises:
            ValueError: The line is broken or of another format, or the question now has other answers.
        """
        data = fields_of(line, FORMAT, "result")
        try:
            question, correct, f1 = answered[data["id"]], tuple(data["correct"]), data["f1"]
            if data["answers"] != [answer.text for answer in question.answers] or len(correct) != len(question.answers):
                raise ValueError(f"question {data['id']!r} has other answers now: score it again with --resume")
            return cls(question, data["score"], correct, None if f1 is None else tuple(f1))
        except (TypeError, KeyError) as error:
            raise ValueError(f"holds no result ({error})") from None


def score_name(method: Method, prompt: Prompt, judge: Judge | None) -> str:
    """The name of a score; only scores of one name can be compared. ValueError if a judge is needed and missing."""
    if method != "judge":
        return method
    if judge is None:
        raise ValueError("these answers are scored by a judge, and there is none")
    return f"judge:{prompt.version}:{judge.model}"


async def score_answers(
    questions: Sequence[Answered],
    method: Method,
    prompt: Prompt,
    judge: Judge | None = None,
    known: Iterable[Judgement] = (),
    keep: Callable[[Judgement], None] = lambda verdict: None,
    concurrency: int = AT_ONCE,
) -> list[Scored]:
    """Score all answers.

    Args:
        questions: The questions with their answers.
        method: The kind of score.
        prompt: The prompt of the judge.
        judge: The judge, for method "judge".
        known: Earlier verdicts; readable ones of this judge and prompt are used again.
        keep: Called with each new verdict.
        concurrency: Number of the judge's calls at once.

    Raises:
        ValueError: A judge is needed and there is none, or a question has no target.
        JudgeError: The judge failed; earlier verdicts were passed to `keep`.
    """
    name = score_name(method, prompt, judge)
    if method == "math":
        right = await anyio.to_thread.run_sync(lambda: [_each(a, equivalent) for a in questions])
        return [Scored(a, name, tuple(map(bool, one))) for a, one in zip(questions, right, strict=True)]
    if method == "words":
        return [Scored(a, name, tuple(map(bool, _each(a, exact_match))), _each(a, token_f1)) for a in questions]
    assert judge is not None
    verdicts = await _verdicts(questions, prompt, judge, known, keep, concurrency)
    return [
        Scored(a, name, tuple(_READ[verdicts[(a.id, answer.text)].verdict] for answer in a.answers)) for a in questions
    ]


def _each(answered: Answered, score: Callable[[str, Sequence[str]], float]) -> tuple[float, ...]:
    if not any(target.strip() for target in answered.targets):
        raise ValueError(f"sample {answered.id!r} has no target: nothing could ever score")
    return tuple(score(answer.text or "", answered.targets) for answer in answered.answers)


async def _verdicts(
    questions: Sequence[Answered],
    prompt: Prompt,
    asked: Judge,
    known: Iterable[Judgement],
    keep: Callable[[Judgement], None],
    concurrency: int,
) -> dict[tuple[str, str | None], Judgement]:
    """A verdict on each different answer of each question."""
    before = {one.key: one for one in known if one.verdict is not Verdict.UNREADABLE}
    found: dict[tuple[str, str | None], Judgement] = {}
    limit = anyio.CapacityLimiter(concurrency)

    async def have_judged(question: Answered, text: str | None) -> None:
        async with limit:
            try:
                verdict = await judge(asked, prompt, question.id, question.question, question.targets, text)
            except Exception as error:
                cause = original(error)
                line = f"judge {asked.model} failed on question {question.id!r}: {told(cause)}"
                raise JudgeError(line) from cause
        keep(verdict)
        found[(question.id, text)] = verdict

    try:
        async with anyio.create_task_group() as tasks:
            for question in questions:
                for text in dict.fromkeys(answer.text for answer in question.answers):
                    said = text if text is not None and text.strip() else None
                    old = before.get((question.id, question.question, said, prompt.version, asked.model))
                    if old is not None:
                        found[(question.id, text)] = old
                    else:
                        tasks.start_soon(partial(have_judged, question, text))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return found
