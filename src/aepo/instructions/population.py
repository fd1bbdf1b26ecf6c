"""The population: who is drawn, who is credited, who is the best; and its plain values for checkpoints."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from aepo.config import ConfigError, InstructionsConfig
from aepo.core.instructions import credited, draw, draw_probabilities, question_credit, step_credit, survivors
from aepo.core.noise import noise_key, uniform
from aepo.instructions.frame import BrokenFrame, Frame
from aepo.instructions.writing import FailedPath, failed_paths, kept
from aepo.types import Group, Sample


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
        total, squares: The sums of their credits and of the squares of these.
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

    @classmethod
    def begun(cls, settings: InstructionsConfig, own: str, frame: Frame) -> Population:
        """The task's own instruction, and those of the settings; ConfigError if one breaks the frame."""
        members = [Instruction(0, own, frame.tokens(own))]
        for number, text in enumerate((text.strip() for text in settings.texts), 1):
            try:
                members.append(Instruction(number, text, frame.check(text, {member.text for member in members})))
            except BrokenFrame as error:
                raise ConfigError(f"instructions.texts: {text[:40]!r}: {error}") from None
        return cls(settings, tuple(members), written=len(members))

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
        """The population after step number `step`: weights, counts and failures.

        Args:
            groups: The step's groups, dropped ones included. Those of an instruction that is gone do not count.
            step: The number of the step.
        """
        place = {member.text: at for at, member in enumerate(self.members)}
        asked = [
            (place[told], group) for group in groups if (told := group.sample.instruction) in place and told is not None
        ]
        at, means = [j for j, _ in asked], [fmean(group.rewards) for _, group in asked]
        questions = [group.sample.id for _, group in asked]
        if self.settings.credit == "question":
            credits = question_credit(means, [self.last.get(question) for question in questions])
        else:
            credits = [*step_credit(means)]
        before = [member.weight for member in self.members], [member.visits for member in self.members]
        found = zip(self.members, *credited(*before, at, credits, self.settings.decay), strict=True)
        members = []
        for j, (member, weight, visits) in enumerate(found):
            own = [x for where, x in zip(at, credits, strict=True) if where == j and x is not None]
            total, squares = math.fsum([member.total, *own]), math.fsum([member.squares, *(x * x for x in own)])
            sums = {"groups": member.groups + len(own), "total": total, "squares": squares}
            members.append(replace(member, weight=weight, visits=visits, **sums))
        failed = [path for j, group in asked for path in failed_paths(group, members[j].id, step)]
        last = {**self.last, **dict(zip(questions, means, strict=True))}
        return replace(self, members=tuple(members), last=last, failures=kept([*self.failures, *failed]))

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


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
