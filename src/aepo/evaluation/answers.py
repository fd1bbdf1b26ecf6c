"""The answers of a policy, kept without scores, so that they can be scored again.

{"format": 1, "id": "q7", "question": "...", "targets": ["18"], "seconds": 2.1,
 "answers": [{"text": "18", "stop_reason": "answer", "calls": 1, "tokens": 96, "prompt_tokens": 410,
              "by_tool": {"python": 1}}, ...]}
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import anyio

from aepo.core.exploration import IndependentSamples
from aepo.evaluation.prices import Prices, TrajectoryCost, spent
from aepo.files.formats import from_line, to_line
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Rollout, Seeds
from aepo.types import Group, Sample, StopReason, Trajectory

FORMAT = 1
_WAVES = 4


@dataclass(frozen=True)
class Answer:
    """The answer of one trajectory.

    Attributes:
        text: The answer; None if the trajectory gave none.
        stop_reason: The reason why it ended.
        calls: Number of executed tool calls.
        tokens: Number of tokens that the policy wrote.
        prompt_tokens: Number of tokens read before its turns, see `TrajectoryCost`; None in files of older versions.
        by_tool: Number of executed calls of each tool; None in files of older versions.
    """

    text: str | None
    stop_reason: str
    calls: int
    tokens: int
    prompt_tokens: int | None = None
    by_tool: dict[str, int] | None = None

    @property
    def cut_off(self) -> bool:
        """Whether a limit ended the trajectory."""
        return self.stop_reason in (StopReason.LENGTH, StopReason.TIME, StopReason.TOOL_LIMIT)

    @property
    def spent(self) -> TrajectoryCost | None:
        """The tokens and calls that the trajectory used; None in files of older versions."""
        if self.prompt_tokens is None or self.by_tool is None:
            return None
        return TrajectoryCost(self.prompt_tokens, self.tokens, self.by_tool)


@dataclass(frozen=True)
class Answered:
    """One question with its answers.

    Attributes:
        id: The sample's id.
        question: The question's text.
        targets: The accepted answers.
        answers: Independent answers of the policy.
        seconds: The question's share of the time that its part of the questions took.
    """

    id: str
    question: str
    targets: tuple[str, ...]
    answers: tuple[Answer, ...]
    seconds: float

    @property
    def calls(self) -> float:
        """The mean number of executed calls of an answer."""
        return fmean(answer.calls for answer in self.answers)

    @property
    def tokens(self) -> float:
        """The mean number of written tokens of an answer."""
        return fmean(answer.tokens for answer in self.answers)

    def cost(self, prices: Prices) -> float | None:
        """The price of all answers together; None in files of older versions."""
        used = [answer.spent for answer in self.answers]
        return None if None in used else sum(prices(one) for one in used if one is not None)

    def to_line(self) -> str:
        """One JSON object; `from_line` reads it back equal."""
        return to_line(FORMAT, asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Answered:
        """Read what `to_line` wrote; ValueError for a line that is broken or of another format."""
        return from_line(line, FORMAT, "answers", cls)


Keep = Callable[[list[Answered], list[Group]], None]
"""Gets the answers of each part of the questions, with the trees."""


async def ask(questions: Sequence[Sample], sampler: Agent, samples: int, seed: int, keep: Keep) -> None:
    """Answer each question `samples` times, in parts; `keep` gets each part before the next begins.

    The draws of a question depend on seed, question and sample only. After an error, the questions that were answered
    before it are kept.

    Raises:
        RolloutError: A tool has a bug.
        Exception: The engine raised it.
    """
    part = max(1, _WAVES * sampler.generator.max_sequences // samples)
    rules = IndependentSamples(samples)
    for start in range(0, len(questions), part):
        began = time.monotonic()
        asked = questions[start : start + part]
        rollout = Rollout(sampler, rules)
        async with sampler.generator, anyio.create_task_group() as rollout.tasks:
            grown = await rollout.ask(asked, rules.initial_state(2), Seeds(seed, "evaluation"))
        groups = [question.grown for question in grown if question.grown is not None]
        if groups:
            seconds = (time.monotonic() - began) / len(groups)
            keep([answered(group, seconds) for group in groups], groups)
        if rollout.failure is not None:
            raise rollout.failure


def answered(group: Group, seconds: float = 0.0) -> Answered:
    """The answers of a question from its trajectories."""
    target = group.sample.target
    answers = tuple(_answer(trajectory) for trajectory in group.trajectories())
    targets = (target,) if isinstance(target, str) else tuple(target)
    return Answered(group.sample.id, group.sample.question, targets, answers, seconds)


def _answer(trajectory: Trajectory) -> Answer:
    used = spent(trajectory)
    return Answer(
        text=trajectory.answer,
        stop_reason=trajectory.stop_reason.value,
        calls=sum(used.calls.values()),
        tokens=used.sampled,
        prompt_tokens=used.prompt,
        by_tool=dict(used.calls),
    )
