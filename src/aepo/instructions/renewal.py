"""Renews a population: drops the worst, asks the writer for new instructions, tries them, and takes the better ones."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TypeAlias

from aepo.core.exploration import IndependentSamples
from aepo.core.instructions import accepted
from aepo.core.noise import noise_key
from aepo.instructions.frame import BrokenFrame, Frame
from aepo.instructions.population import Instruction, Population
from aepo.instructions.writing import request, written
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.growing import Scorer
from aepo.types import Group, Sample

Writer: TypeAlias = Callable[[Sequence[str], int], Awaitable[str]]
"""Replies to the first of some requests that it has room for, the longest first; the number is a random key."""


class WriterError(Exception):
    """The writer gives no reply; the message says why."""


@dataclass
class Renewed:
    """A renewal and what it cost.

    Attributes:
        population: The population after it.
        groups: The trajectories that tried instructions; they are not trained on.
        counts: How many were accepted and dropped, proposals that failed, requests to the writer, tokens that it wrote.
        problems: Why proposals failed, one line each.
    """

    population: Population
    groups: list[Group] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("accepted", "dropped", "writer_calls", "writer_tokens"), 0)
    )
    problems: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """The counts as metrics."""
        tried = sum(len(group.tree.leaves) for group in self.groups)
        counts = {**self.counts, "proposal_failed": len(self.problems), "tried_trajectories": tried}
        return {f"instruction/{name}": float(count) for name, count in counts.items()}

    def told(self, step: int) -> list[str]:
        """A line for each problem."""
        goes_on = "training goes on with the instructions that there are"
        return [f"after step {step}: {problem}; {goes_on}" for problem in dict.fromkeys(self.problems)]


@dataclass(frozen=True)
class Renewal:
    """What a run needs to renew its instructions.

    Attributes:
        first: The population that a new run begins with.
        frame: Checks new instructions.
        writer: Writes them.
        questions: The training questions.
        agent: Grows the trajectories that try them.
        scorer: Scores those.
        decode: Turns token ids into text.
        encode: Turns text into token ids, to count what the writer wrote.
        seed: The run's seed.
    """

    first: Population
    frame: Frame
    writer: Writer
    questions: Sequence[Sample]
    agent: Agent
    scorer: Scorer
    decode: Callable[[list[int]], str]
    encode: Callable[[str], Sequence[int]]
    seed: int

    async def renew(self, population: Population, step: int) -> Renewed:
        """Renew a population after `step` whole steps; a writer that fails leaves it with the survivors.

        Raises:
            RolloutError: A tool has a bug.
            ValueError: A reward is not one finite number.
        """
        stay = replace(population.surviving(), renewed=step)
        found = Renewed(stay)
        found.counts["dropped"] = len(population.members) - len(stay.members)
        room = population.settings.population - len(stay.members)
        proposals = await self._proposals(found, step) if room else []
        if not proposals:
            return found
        worst = min(stay.members, key=lambda member: (member.weight, -member.id))
        means = [await self._tried(found, text, step) for text in (worst.text, *(text for text, _, _ in proposals))]
        for j in accepted(means[1:], means[0], room):
            found.population = found.population.joined(*proposals[j], step)
            found.counts["accepted"] += 1
        return found

    async def _proposals(self, found: Renewed, step: int) -> list[tuple[str, int, Instruction]]:
        """New texts with their tokens, each with the instruction that it was written from."""
        stay, settings = found.population, found.population.settings
        ranked = sorted(stay.members, key=lambda member: (-member.weight, member.id))
        proposals: list[tuple[str, int, Instruction]] = []
        for number in range(settings.proposals):
            again, place = divmod(number, len(ranked))
            parent = ranked[place]
            own = [one for one in stay.failures if one.instruction == parent.id]
            shown = own[again * settings.failures :][: settings.failures]
            requests = [request(parent.text, shown[:count], self.decode) for count in range(len(shown), -1, -1)]
            found.counts["writer_calls"] += 1
            try:
                reply = await self.writer(requests, noise_key(self.seed, step, "writer", number))
                found.counts["writer_tokens"] += len(self.encode(reply))
                text = written(reply)
                others = {member.text for member in stay.members} | {text for text, _, _ in proposals}
                proposals.append((text, self.frame.check(text, others), parent))
            except WriterError as error:
                found.problems.append(f"no new instruction: {error}")
            except BrokenFrame as error:
                found.problems.append(f"a new instruction was refused: {error}")
        return proposals

    async def _tried(self, found: Renewed, text: str, step: int) -> float:
        """The mean reward of one trajectory a question under an instruction; equal random keys for every text."""
        order, one = list(self.questions), IndependentSamples(1)
        random.Random(f"instructions {self.seed} {step}").shuffle(order)
        asked = [replace(sample, instruction=text) for sample in order[: self.first.settings.verify_questions]]
        seeds = Seeds(self.seed, f"{step}/instructions")
        groups = await explore(asked, self.agent, one, one.initial_state(2), seeds, self.scorer)
        found.groups += groups
        return fmean(group.rewards[0] for group in groups)
