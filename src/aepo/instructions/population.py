"""The population: who is drawn, who is credited, who is the best; and its plain values for checkpoints."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from aepo.config.sections import InstructionsConfig
from aepo.core.instructions import (
    credited,
    draw,
    draw_probabilities,
    failures_first,
    question_credit,
    step_credit,
    survivors,
)
from aepo.core.noise import noise_key, uniform
from aepo.types import SUCCESS, Group, Sample, flatten

MOST_FAILURES, MOST_OF_A_QUESTION = 256, 2
SHOWN_TOKENS = 256
"""A failed trajectory is kept with so many of its first tokens after the prompt, and so many of its last ones."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        id: Its number in the run; 0 is the task's own.
        text: The text above the system text.
        tokens: Tokens that it adds to a prompt.
        parent: The id of the one that it was written from; None for those that the run began with.
        born: The step in which it joined.
        weight: w, in units of reward.
        visits: Steps that gave it credit.
        groups: Groups that gave it credit.
        total: The sum of their credits.
        squares: The sum of the squares of their credits.
    """

    id: int
    text: str
    tokens: int = 0
    parent: int | None = None
    born: int = 0
    weight: float = 0.0
    visits: int = 0
    groups: int = 0
    total: float = 0.0
    squares: float = 0.0

    def worth(self) -> tuple[float, float, float] | None:
        """The mean credit of its groups, and the ends of its 95 % interval (normal); None with fewer than two."""
        if self.groups < 2:
            return None
        mean = self.total / self.groups
        variance = max(0.0, self.squares - self.groups * mean**2) / (self.groups - 1)
        half = 1.96 * math.sqrt(variance / self.groups)
        return mean, mean - half, mean + half


@dataclass(frozen=True)
class FailedPath:
    """A trajectory that did not succeed, for the writer.

    Attributes:
        instruction: The id of the instruction that it had.
        question: The id of its question.
        asked: The question's text.
        reward: Its reward.
        step: The step of its rollout.
        head: The first tokens after the prompt.
        tail: The last tokens, of those that `head` does not have.
    """

    instruction: int
    question: str
    asked: str
    reward: float
    step: int
    head: list[int]
    tail: list[int]


@dataclass(frozen=True)
class Population:
    """The instructions of a run after some steps.

    Attributes:
        settings: The settings of the run.
        members: The instructions, in the order of their ids; the first is the task's own.
        last: The mean reward of each question's last group, by the question's id.
        failures: Kept failures, lowest reward first, then newest.
        renewed: The step before which the last renewal was made.
        written: How many instructions there have been.
    """

    settings: InstructionsConfig
    members: tuple[Instruction, ...]
    last: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[FailedPath, ...] = ()
    renewed: int = 0
    written: int = 0

    @property
    def probabilities(self) -> list[float]:
        """The probability of each member."""
        weights = [member.weight for member in self.members]
        return draw_probabilities(weights, self.settings.temperature, self.settings.floor)

    @property
    def best(self) -> Instruction:
        """The member with the highest weight of those with `min_groups` groups; the task's own before there is one."""
        known = [member for member in self.members if member.groups >= self.settings.min_groups]
        return max(known, key=lambda member: (member.weight, -member.id), default=self.members[0])

    def instructed(self, samples: Sequence[Sample], seed: int, step: int | str) -> list[Sample]:
        """The questions of a step, each with the instruction that it is asked under."""
        found, times, p = [], Counter[str](), self.probabilities
        for sample in samples:
            # A question that a step asks twice has two draws.
            name = f"{sample.id}#{times[sample.id]}" if times[sample.id] else sample.id
            times[sample.id] += 1
            j = draw(p, uniform(noise_key(seed, step, name, "instruction"), 0))
            found.append(replace(sample, instruction=self.members[j].text))
        return found

    def due(self, step: int) -> bool:
        """Whether instructions are renewed before the step that follows `step` whole ones."""
        return step > self.renewed and step % self.settings.every == 0

    def after(self, groups: Sequence[Group], step: int) -> Population:
        """The population after a step's groups: weights, counts and failures. A group of one that is gone counts not.

        Args:
            groups: The groups, dropped ones included.
            step: The number of the step.
        """
        place = {member.text: at for at, member in enumerate(self.members)}
        asked = [group for group in groups if group.sample.instruction in place]
        if not asked:
            return self
        at = [place[group.sample.instruction or ""] for group in asked]
        means = [fmean(group.rewards) for group in asked]
        questions = [group.sample.id for group in asked]
        if self.settings.credit == "question":
            credits = question_credit(means, [self.last.get(question) for question in questions])
        else:
            credits = list(step_credit(means))
        weights, visits = credited(
            [m.weight for m in self.members], [m.visits for m in self.members], at, credits, self.settings.decay
        )
        members = []
        for j, member in enumerate(self.members):
            own = [x for where, x in zip(at, credits, strict=True) if where == j and x is not None]
            sums = {
                "total": math.fsum([member.total, *own]),
                "squares": math.fsum([member.squares, *(x * x for x in own)]),
            }
            grown = replace(member, weight=weights[j], visits=visits[j], groups=member.groups + len(own), **sums)
            members.append(grown)
        failed = [one for j, group in zip(at, asked, strict=True) for one in _failed(group, self.members[j].id, step)]
        return replace(
            self,
            members=tuple(members),
            last={**self.last, **dict(zip(questions, means, strict=True))},
            failures=_kept([*self.failures, *failed]),
        )

    def surviving(self) -> Population:
        """The population without its worst known members, down to the share that survives."""
        most = max(1, math.ceil(self.settings.keep * self.settings.population))
        weights, groups = ([getattr(m, name) for m in self.members] for name in ("weight", "groups"))
        stay = survivors(weights, groups, self.settings.min_groups, most)
        return replace(self, members=tuple(self.members[j] for j in stay))

    def joined(self, text: str, tokens: int, parent: Instruction, step: int) -> Population:
        """The population with a new member, which begins with the weight of the one that it was written from."""
        new = Instruction(self.written, text, tokens, parent.id, step, parent.weight)
        return replace(self, members=(*self.members, new), written=self.written + 1)

    def metrics(self, groups: Sequence[Group], step: int) -> dict[str, Any]:
        """Metrics after a step: weights, the draw, ages, lengths, and how many of the groups each id had."""
        weights, drawn = [member.weight for member in self.members], Counter(g.sample.instruction for g in groups)
        return {
            "instruction/w_max": max(weights),
            "instruction/w_spread": max(weights) - min(weights),
            "instruction/entropy": -math.fsum(p * math.log(p) for p in self.probabilities if p > 0),
            "instruction/age": fmean(step - member.born for member in self.members),
            "instruction/length_tokens": fmean(member.tokens for member in self.members),
            "instruction/groups_histogram": {str(m.id): drawn[m.text] for m in self.members if drawn[m.text]},
        }

    def row(self, step: int) -> dict[str, Any]:
        """What the run keeps of a step for the viewer: the members with their worth."""
        shown = ("id", "parent", "born", "text", "weight", "groups")
        members = [{**{name: getattr(m, name) for name in shown}, "worth": m.worth()} for m in self.members]
        return {"step": step, "best": self.best.id, "members": members}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint, with the hash of every text."""
        members = [{**asdict(member), "sha256": _hash(member.text)} for member in self.members]
        return {**asdict(replace(self, members=())), "settings": None, "members": members}

    def restored(self, data: Mapping[str, Any]) -> Population:
        """Read the result of `to_dict`; ValueError if a text does not have its hash."""
        members = []
        for one in map(dict, data["members"]):
            if _hash(one["text"]) != one.pop("sha256"):
                raise ValueError(f"the text of instruction {one['id']} was changed after the checkpoint was written")
            members.append(Instruction(**one))
        failures = tuple(FailedPath(**one) for one in data["failures"])
        return Population(self.settings, tuple(members), data["last"], failures, data["renewed"], data["written"])


def _failed(group: Group, instruction: int, step: int) -> list[FailedPath]:
    found = []
    for leaf in group.tree.leaves:
        if leaf.reward is not None and leaf.reward < SUCCESS:
            path = flatten(group.sample, group.tree, leaf)
            written = path.tokens[path.prompt_length :]
            head, rest = written[:SHOWN_TOKENS], written[SHOWN_TOKENS:]
            about = (group.sample.id, group.sample.question, leaf.reward, step)
            found.append(FailedPath(instruction, *about, head, rest[-SHOWN_TOKENS:]))
    return found


def _kept(failures: Sequence[FailedPath]) -> tuple[FailedPath, ...]:
    """The lowest rewards first, then the newest, then in the order of the paths; few of one question."""
    kept, times = [], Counter[str]()
    paths = [(number, one.reward, one.step) for number, one in enumerate(failures)]
    for one in (failures[number] for number in failures_first(paths, len(paths), SUCCESS)):
        times[one.question] += 1
        if times[one.question] <= MOST_OF_A_QUESTION:
            kept.append(one)
    return tuple(kept[:MOST_FAILURES])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
