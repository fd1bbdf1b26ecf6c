"""What a policy answered, kept apart from what the answers are worth, so that they can be scored again.

{"format": 1, "id": "q7", "question": "...", "targets": ["18"], "seconds": 2.1,
 "answers": [{"text": "18", "stop_reason": "answer", "calls": 1, "tokens": 96, "prompt_tokens": 410,
              "by_tool": {"python": 1}}, ...]}
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import anyio

from aepo.core.exploration import IndependentSamples
from aepo.evaluation.prices import Prices, TrajectoryCost, spent
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Rollout, Seeds
from aepo.types import Group, Sample, StopReason, Trajectory

FORMAT = 1
_WAVES = 4


@dataclass(frozen=True)
class Answer:
    """One trajectory.

    Attributes:
        text: Its answer; None without one.
        stop_reason: Why it ended.
        calls: Tool calls that really ran.
        tokens: Tokens that the policy wrote.
        prompt_tokens: Tokens read before its turns (`prices.Spent`); None in files of before this was kept.
        by_tool: The calls by tool; None in such files.
    """

    text: str | None
    stop_reason: str
    calls: int
    tokens: int
    prompt_tokens: int | None = None
    by_tool: dict[str, int] | None = None

    @property
    def cut_off(self) -> bool:
        """Whether a limit ended it."""
        return self.stop_reason in (StopReason.LENGTH, StopReason.TIME, StopReason.TOOL_LIMIT)

    @property
    def spent(self) -> TrajectoryCost | None:
        """What it used; None if that was not kept."""
        if self.prompt_tokens is None or self.by_tool is None:
            return None
        return TrajectoryCost(self.prompt_tokens, self.tokens, self.by_tool)


@dataclass(frozen=True)
class Answered:
    """One question with its answers.

    Attributes:
        id: Of the sample.
        question: What was asked.
        targets: The accepted answers.
        answers: Independent ones.
        seconds: Its share of the time that the questions asked together with it took.
    """

    id: str
    question: str
    targets: tuple[str, ...]
    answers: tuple[Answer, ...]
    seconds: float

    @property
    def calls(self) -> float:
        """Mean of the answers."""
        return fmean(answer.calls for answer in self.answers)

    @property
    def tokens(self) -> float:
        """Mean of the answers."""
        return fmean(answer.tokens for answer in self.answers)

    def cost(self, prices: Prices) -> float | None:
        """Of all its answers together; None if what they used was not kept."""
        used = [answer.spent for answer in self.answers]
        return None if None in used else sum(prices(one) for one in used if one is not None)

    def to_line(self) -> str:
        """One JSON object; `from_line` reads it back equal."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> Answered:
        """Read what `to_line` wrote.

        Raises:
            ValueError: The line is broken or of another format version.
        """
        data = json.loads(line)
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise ValueError(f"no answers of format {FORMAT}")
        try:
            answers = tuple(Answer(**answer) for answer in data["answers"])
            return cls(**{**data, "targets": tuple(data["targets"]), "answers": answers})
        except (TypeError, KeyError) as error:
            raise ValueError(f"holds no answers ({error})") from None


Keep = Callable[[list[Answered], list[Group]], None]
"""Told of each part of the questions once it is answered, with the trees."""


async def ask(questions: Sequence[Sample], sampler: Agent, samples: int, seed: int, keep: Keep) -> None:
    """Answer each question `samples` times, part by part; each part is kept before the next begins.

    What is drawn for a question depends on seed, question and sample only, not on the others or on the parts. If
    something fails, the questions that were answered by then are kept.

    Raises:
        RolloutError: A tool has a bug.
        Exception: Whatever the engine raises.
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
    """What the trajectories of a question came to."""
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
