"""A policy that answers as it is told: an engine without a model, whose tokens are letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aepo.evaluation.answers import Answer, Answered
from aepo.evaluation.scoring import Scored
from aepo.rollout.agent import Agent
from aepo.rollout.chat.base import ParsedTurn
from aepo.rollout.explorer import Seeds
from aepo.rollout.path import Limits
from aepo.types import Sample
from tests.rollout.toy import ANSWER, CALL, END, Place, ToyGenerator, ToyProtocol, asking, decode, encode, key_of

Script = Mapping[str, Sequence[str | None]]
"""Per question text, what each of its samples answers; "?text" asks the tool before; None ends without an answer."""


class LetterProtocol(ToyProtocol):
    """Answers are texts."""

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        if tokens[-1] == ANSWER:
            return ParsedTurn(answer=decode(tokens))
        return super().parse(tokens)


def agent(script: Script, samples: Sequence[Sample], seed: int = 0, at_once: int = 128, limit: int = 1000) -> Agent:
    """An agent that follows the script on these samples."""
    seeds = Seeds(seed, "evaluation")
    told = {
        key_of(path, sample.id, seeds): answer
        for sample in samples
        for path, answer in enumerate(script[sample.question])
    }

    def policy(at: Place) -> int:
        text = told[at.key]
        if text is None:
            return END
        if text.startswith("?") and at.turn == 0:
            return CALL
        letters = encode(text.removeprefix("?"))
        return [*letters, ANSWER][at.number]

    generator = ToyGenerator(policy, lambda at: 1.0, at_once)
    return Agent(generator, LetterProtocol(), {"ask": asking()}, Limits(limit, 3))


def answered(id: str, targets: Sequence[str], *texts: str | None, seconds: float = 1.0) -> Answered:
    """A question with these answers."""
    answers = tuple(Answer(text, "end" if text is None else "answer", 1, 10) for text in texts)
    return Answered(id, f"question {id}", tuple(targets), answers, seconds)


def scored(id: str, *correct: bool | None, score: str = "words", f1: Sequence[float] | None = None) -> Scored:
    """A question with these scores."""
    question = answered(id, ["x"], *("x" if one else "y" for one in correct))
    return Scored(question, score, correct, None if f1 is None else tuple(f1))
