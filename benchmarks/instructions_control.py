"""How often does chance drop an instruction that is better than the others? No model: rewards are drawn.

Each question has a difficulty of its own, each group the mean of k rewards of 0 or 1. `gain` is what instruction 1 adds
to the chance of success; the others are equal. Every 25 steps the worst are dropped, until half of the four are left.
Prints the share of the draw before the first drop, and in how many seeds instruction 1 was dropped. With gain 0 that is
the chance of any one of the three that may go.

    python benchmarks/instructions_control.py
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from aepo.config.sections import InstructionsConfig
from aepo.instructions.population import Instruction, Population
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, TrajectoryTree

QUESTIONS, A_STEP, K, MEMBERS = 64, 8, 8, 4


@dataclass(frozen=True)
class Control:
    """What happened over all seeds.

    Attributes:
        shares: The share of the groups before the first drop that each instruction had.
        dropped: Instructions that were dropped, a seed.
        lost: Seeds in which instruction 1 was dropped.
        least_groups: The smallest number of groups that a dropped one had; None without a drop.
    """

    shares: Sequence[float]
    dropped: float
    lost: int
    least_groups: int | None


def false_drops(
    seeds: int, steps: int, gain: float, credit: str = "question", min_groups: int = 64, every: int = 25
) -> Control:
    """Run populations without a writer, with one renewal every `every` steps."""
    shares: list[list[float]] = []
    dropped, lost, groups = 0, 0, []
    for seed in range(seeds):
        found = one_run(seed, steps, gain, credit, min_groups, every)
        shares.append(found[0])
        dropped += len(found[1])
        lost += any(member.id == 1 for member in found[1])
        groups += [member.groups for member in found[1]]
    means = [fmean(column) for column in zip(*shares, strict=True)]
    return Control(means, dropped / seeds, lost, min(groups, default=None))


def one_run(
    seed: int, steps: int, gain: float, credit: str, min_groups: int, every: int
) -> tuple[list[float], list[Instruction]]:
    """The shares of the draw before the first drop, and the members that were dropped."""
    chance = random.Random(f"control {seed}")
    ease = [chance.betavariate(1, 1) for _ in range(QUESTIONS)]
    settings = InstructionsConfig(enabled=True, credit=credit, min_groups=min_groups, every=every)
    members = tuple(Instruction(number, f"instruction {number}") for number in range(MEMBERS))
    population, drawn, gone = Population(settings, members, written=MEMBERS), Counter[int](), []
    for step in range(1, steps + 1):
        places = [(step * A_STEP + at) % QUESTIONS for at in range(A_STEP)]
        asked = population.instructed([Sample("?", id=str(place)) for place in places], seed, step)
        ids = {member.text: member.id for member in population.members}
        groups = []
        for sample, place in zip(asked, places, strict=True):
            number = ids[sample.instruction or ""]
            drawn[number] += not gone
            p = min(1.0, ease[place] + gain * (number == 1))
            groups.append(_group(sample, [float(chance.random() < p) for _ in range(K)]))
        population = population.after(groups, step)
        if population.due(step):
            stay = replace(population.surviving(), renewed=step)
            kept = {member.id for member in stay.members}
            gone += [member for member in population.members if member.id not in kept]
            population = stay
    total = drawn.total()
    return [drawn[number] / total for number in range(MEMBERS)], gone


def _group(sample: Sample, rewards: Sequence[float]) -> Group:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [0], 0)
    for path, reward in enumerate(rewards):
        node = tree.add(prompt.id, Kind.POLICY, [0], path)
        tree.leaves.append(Leaf(path, node.id, Origin.GLOBAL, StopReason.ANSWER, reward=reward))
    return Group(sample, tree)


def main() -> None:
    """Print one table."""
    print("| credit | gain | min_groups | share of the draw, 0 to 3 | dropped a seed | lost 1 | least groups |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for credit in ("question", "step"):
        for gain in (0.0, 0.05, 0.1, 0.3):
            for least in (64, 8):
                found = false_drops(20, 200, gain, credit, least)
                shares = " ".join(f"{100 * share:.0f} %" for share in found.shares)
                print(
                    f"| {credit} | {gain:g} | {least} | {shares} | {found.dropped:.1f} | {found.lost} of 20 | "
                    f"{found.least_groups} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
