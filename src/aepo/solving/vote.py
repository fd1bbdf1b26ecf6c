"""Counts answers; equal answers in different spelling count as one. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aepo.boxed import unboxed
from aepo.rewards.answer import AnswerReading, agree, read


@dataclass(frozen=True)
class Tally:
    """One answer with its votes.

    Attributes:
        answer: The answer in its most frequent spelling; the first one among equals.
        votes: Number of trajectories that gave it.
        reward: The highest reward of these trajectories; None without a reward.
    """

    answer: str
    votes: int
    reward: float | None = None


def key(answer: str) -> AnswerReading:
    """The form in which an answer is compared, as in rewards (`aepo.rewards.answer`)."""
    return read(unboxed(answer))


def tally(answers: Sequence[str | None], rewards: Sequence[float | None] | None = None) -> tuple[Tally, ...]:
    """The distinct answers, best first: by highest reward if there are rewards, then by votes, then by order.

    An answer joins the first group in which it agrees with all answers. So €5 and $5 stay apart even if there is a 5.

    Args:
        answers: One per trajectory; None and blank ones do not vote.
        rewards: One per trajectory; by default only votes count.
    """
    given = [(answer.strip(), key(answer), at) for at, answer in enumerate(answers) if answer and answer.strip()]
    groups: list[list[tuple[str, AnswerReading, int]]] = []
    for one in given:
        agreeing = (group for group in groups if all(agree(one[1], other) for _, other, _ in group))
        if (group := next(agreeing, None)) is None:
            groups.append(group := [])
        group.append(one)
    found = []
    for group in groups:
        spelling, _ = Counter(answer for answer, _, _ in group).most_common(1)[0]
        scores = [rewards[at] for _, _, at in group if rewards is not None and rewards[at] is not None]
        found.append(Tally(spelling, len(group), max(scores, default=None)))
    return tuple(sorted(found, key=_rank, reverse=True))


def tied(tallies: Sequence[Tally]) -> tuple[Tally, ...]:
    """The answers as good as the first one, itself included; empty if there are no others."""
    equal = tuple(one for one in tallies if _rank(one) == _rank(tallies[0]))
    return equal if len(equal) > 1 else ()


def _rank(one: Tally) -> tuple[float, int]:
    return (0.0 if one.reward is None else one.reward, one.votes)
