"""Counting answers: those that are the same are one, whatever they look like. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from aepo.rewards.answer import fold, normalise, number


@dataclass(frozen=True)
class Tally:
    """One answer and who gave it.

    Attributes:
        answer: As most of them wrote it; the first one's spelling among equals.
        votes: Trajectories that gave it.
        reward: The highest that one of them got; None if no reward was asked.
    """

    answer: str
    votes: int
    reward: float | None = None


def key(answer: str) -> Hashable:
    """Equal for answers that are the same: as numbers if they are numbers, else as words (`aepo.rewards.answer`)."""
    value = number(answer)
    if value is not None:
        return value
    return normalise(answer) or fold(answer).strip()


def tally(answers: Sequence[str | None], rewards: Sequence[float | None] | None = None) -> tuple[Tally, ...]:
    """The distinct answers, best first: by highest reward if there are rewards, then by votes, then who came first.

    Args:
        answers: One a trajectory; None and blank ones do not vote.
        rewards: One a trajectory; by default votes decide alone.
    """
    spellings: dict[Hashable, Counter[str]] = {}
    best: dict[Hashable, float] = {}
    for at, answer in enumerate(answers):
        if answer is None or not answer.strip():
            continue
        same = key(answer)
        spellings.setdefault(same, Counter())[answer.strip()] += 1
        reward = None if rewards is None else rewards[at]
        if reward is not None:
            best[same] = max(reward, best.get(same, reward))
    found = [
        Tally(written.most_common(1)[0][0], written.total(), best.get(same)) for same, written in spellings.items()
    ]
    return tuple(sorted(found, key=lambda one: (*_rank(one),), reverse=True))


def tied(tallies: Sequence[Tally]) -> tuple[Tally, ...]:
    """Those that are as good as the first one; empty if it stands alone, or there is none."""
    equal = tuple(one for one in tallies if _rank(one) == _rank(tallies[0]))
    return equal if len(equal) > 1 else ()


def _rank(one: Tally) -> tuple[float, int]:
    return (0.0 if one.reward is None else one.reward, one.votes)
