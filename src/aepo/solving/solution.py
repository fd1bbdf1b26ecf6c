"""The solution of a question, and the progress while it is solved."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aepo.solving.budget import SolvingSpent
from aepo.solving.vote import Tally, tied
from aepo.terminal.text import one_line
from aepo.types import Group, Origin, ToolCall

ChosenBy = Literal["vote", "reward", "judge", "nobody"]
SHOWN = 6
LONGEST = 60
FROM_QUESTION = (Origin.PROBE, Origin.GLOBAL, Origin.LEFTOVER)


@dataclass(frozen=True)
class Progress:
    """The progress of solving a question.

    Attributes:
        round: The current round, from 1.
        rounds: The number of rounds, if no limit ends it earlier.
        wanted: The number of trajectories of all rounds.
        ended: The number of trajectories that have ended.
        tallies: Their answers, most votes first.
        spent: The resources used so far.
    """

    round: int
    rounds: int
    wanted: int
    ended: int
    tallies: tuple[Tally, ...]
    spent: SolvingSpent


@dataclass(frozen=True)
class Solution:
    """An answer with its votes, costs and trees.

    Attributes:
        question: The question.
        answer: The chosen answer; None if no trajectory gave one.
        tallies: All answers, the chosen one first.
        tied: The answers as good as the chosen one, itself included; empty if there are no others.
        chosen_by: How the answer was chosen; "vote" also if a judge's reply could not be read or was not needed.
        judge_unreadable: Whether a judge's reply could not be read.
        ended_by: The limit that was reached: "trajectories", "calls", "tokens", "money"; or "interrupted".
        spent: The resources that were used.
        groups: One per round, with their trees. A cut trajectory has no leaf.
        actions: With an environment: the calls of the chosen trajectory, without those that failed, to be made once in
            the real one. Without a reward and an answer, the first trajectory's.
    """

    question: str
    answer: str | None
    tallies: tuple[Tally, ...]
    tied: tuple[Tally, ...]
    chosen_by: ChosenBy
    judge_unreadable: bool
    ended_by: str
    spent: SolvingSpent
    groups: tuple[Group, ...]
    actions: tuple[ToolCall, ...] = ()

    @property
    def ended(self) -> int:
        """The number of trajectories that ended; the budget cut the others."""
        return sum(len(group.tree.leaves) for group in self.groups)

    @property
    def votes(self) -> int:
        """The number of trajectories with an answer."""
        return sum(one.votes for one in self.tallies)

    @property
    def fresh_starts(self) -> int:
        """The number of ended trajectories that began at the question."""
        return sum(leaf.origin in FROM_QUESTION for group in self.groups for leaf in group.tree.leaves)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the trees."""
        reasons = Counter(leaf.stop_reason.value for group in self.groups for leaf in group.tree.leaves)
        return {
            "question": self.question,
            "answer": self.answer,
            "chosen_by": self.chosen_by,
            "judge_unreadable": self.judge_unreadable,
            "actions": [{"name": call.name, "arguments": call.arguments} for call in self.actions],
            "answers": [asdict(one) for one in self.tallies],
            "tied": [one.answer for one in self.tied],
            "ended_by": self.ended_by,
            "spent": asdict(self.spent),
            "rounds": len(self.groups),
            "trajectories_ended": self.ended,
            "fresh_starts": self.fresh_starts,
            "stop_reasons": dict(sorted(reasons.items())),
        }

    def __str__(self) -> str:
        """The answer, its votes and its cost, in a few lines."""
        return "\n".join([self.answer or "no answer", *lines(self)])


def lines(solution: Solution) -> list[str]:
    """The lines after the answer."""
    told = [_agreement(solution)]
    if solution.actions:
        made = [f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)}" for call in solution.actions]
        told.append(f"{count(len(made), 'action')}: {listed(made)}")
    if solution.judge_unreadable:
        told.append("the judge's reply could not be read: the vote decided")
    if solution.tied and solution.chosen_by != "judge":
        others = listed([one.answer for one in solution.tied[1:]])
        told.append(f"a tie with {others}: the answer that came first was taken")
    told.append(spending(solution.spent))
    branches, by = solution.ended - solution.fresh_starts, solution.ended_by
    told.append(
        f"{count(len(solution.groups), 'round')}: {count(solution.fresh_starts, 'fresh start')}, "
        f"{count(branches, 'branch', 'branches')}, {solution.spent.trajectories - solution.ended} cut; "
        f"ended by {'an interrupt' if by == 'interrupted' else f'the budget of {by}'}"
    )
    return told


def spending(spent: SolvingSpent) -> str:
    """The resources used, on one line."""
    used = f"{count(spent.trajectories, 'trajectory', 'trajectories')}, {count(spent.calls, 'call')}"
    tokens = f"{spent.tokens:,} tokens written, {spent.tokens_read:,} read"
    cost = f", cost {spent.money:.4g}" if spent.money else ""
    return f"{used}, {tokens}{cost}, {spent.seconds:.1f} s"


def listed(texts: Sequence[str]) -> str:
    """The texts with commas; only the first `SHOWN`, each on one line, and the number of the others."""
    shown = [one_line(text, LONGEST) for text in texts[:SHOWN]]
    return ", ".join(shown) + (f" and {len(texts) - SHOWN} others" if len(texts) > SHOWN else "")


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun, such as "1 branch" or "3 branches"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def decided(
    question: str,
    groups: tuple[Group, ...],
    tallies: tuple[Tally, ...],
    by: ChosenBy,
    place: int | None,
    ended_by: str,
    spent: SolvingSpent,
) -> Solution:
    """Make the solution.

    Args:
        question: The question.
        groups: One per round.
        tallies: Answers by reward or votes, the best first.
        by: How the answer is chosen.
        place: Index of the answer that a judge chose; None if its reply could not be read, 0 without a judge.
        ended_by: The limit that was reached.
        spent: The resources that were used.
    """
    if not tallies:
        return Solution(question, None, (), (), "nobody", False, ended_by, spent, groups)
    unreadable = by == "judge" and place is None
    if unreadable or (by == "judge" and len(tallies) == 1):
        by = "vote"
    chosen = tallies[place or 0]
    ordered = (chosen, *(one for one in tallies if one is not chosen))
    return Solution(question, chosen.answer, ordered, tied(tallies), by, unreadable, ended_by, spent, groups)


def _agreement(solution: Solution) -> str:
    if not solution.tallies:
        return f"none of {count(solution.ended, 'trajectory', 'trajectories')} gave an answer"
    first, *others = solution.tallies
    said = f"{first.votes} of {count(solution.ended, 'trajectory', 'trajectories')} say so"
    if first.reward is not None:
        said += f", reward {first.reward:.3g}"
    silent = solution.ended - solution.votes
    rest = [listed([f"{one.votes} {one.answer}" for one in others]), f"{silent} without an answer" if silent else ""]
    chosen = {"judge": "chosen by the judge", "reward": "chosen by reward"}.get(solution.chosen_by, "")
    return "; ".join(filter(None, [said, ", ".join(filter(None, rest)), chosen]))
