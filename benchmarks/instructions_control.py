"""How often does chance drop an instruction that is better than the others? Rewards are drawn, or those of a model.

Without a model each question has a difficulty of its own, each group k rewards of 0 or 1. `gain` is what instruction 1
adds to the chance of success; the others are equal. Every 25 steps the worst are dropped, until half of the four are
left. Prints the share of the draw before the first drop, and in how many seeds instruction 1 was dropped. With gain 0
that is the chance of any one of the three that may go.

With `--model` the rewards are those of a packaged model at its task, which is asked without any instruction: so they
cannot matter. The same rollouts serve all seeds, whose draws differ.

    python benchmarks/instructions_control.py
    python benchmarks/instructions_control.py --model atlas
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import TypeAlias

import torch

import aepo
from aepo import tasks
from aepo.config import InstructionsConfig
from aepo.core.exploration import IndependentSamples
from aepo.equipment.agents import agents, scorer_of
from aepo.instructions.population import Instruction, Population
from aepo.process import event_loop
from aepo.rollout.explorer import Seeds, explore
from aepo.training.sampling import step_questions
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, TrajectoryTree

QUESTIONS, A_STEP, K, MEMBERS = 64, 8, 8, 4
PATHS = 4
"""Paths of a question that a model answers."""
Rewards: TypeAlias = Callable[[int, int, int], tuple[str, list[float]]]
"""For a step, a place in it and an instruction's number: the question's id, and the rewards of its group."""


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


Rollouts: TypeAlias = Sequence[Sequence[tuple[str, list[float]]]]
"""For each step the questions' ids, each with the rewards of its group."""


def false_drops(
    seeds: int,
    steps: int,
    gain: float,
    credit: str = "question",
    min_groups: int = 64,
    every: int = 25,
    rollouts: Rollouts | None = None,
) -> Control:
    """Run populations without a writer, with one renewal every `every` steps; rewards are drawn without `rollouts`."""
    shares: list[list[float]] = []
    dropped, lost, groups = 0, 0, []
    for seed in range(seeds):
        rewards = drawn_rewards(seed, gain) if rollouts is None else lambda step, at, _: rollouts[step - 1][at]
        found = one_run(seed, steps, credit, min_groups, every, rewards)
        shares.append(found[0])
        dropped += len(found[1])
        lost += any(member.id == 1 for member in found[1])
        groups += [member.groups for member in found[1]]
    means = [fmean(column) for column in zip(*shares, strict=True)]
    return Control(means, dropped / seeds, lost, min(groups, default=None))


def drawn_rewards(seed: int, gain: float) -> Rewards:
    """Rewards of 0 or 1 for questions of random difficulty; instruction 1 adds `gain` to the chance."""
    chance = random.Random(f"control {seed}")
    ease = [chance.betavariate(1, 1) for _ in range(QUESTIONS)]

    def rewards(step: int, at: int, number: int) -> tuple[str, list[float]]:
        place = (step * A_STEP + at) % QUESTIONS
        p = min(1.0, ease[place] + gain * (number == 1))
        return str(place), [float(chance.random() < p) for _ in range(K)]

    return rewards


def one_run(
    seed: int, steps: int, credit: str, min_groups: int, every: int, rewards: Rewards
) -> tuple[list[float], list[Instruction]]:
    """The shares of the draw before the first drop, and the members that were dropped."""
    settings = InstructionsConfig(enabled=True, credit=credit, min_groups=min_groups, every=every)
    members = tuple(Instruction(number, f"instruction {number}") for number in range(MEMBERS))
    population, drawn, gone = Population(settings, members, written=MEMBERS), Counter[int](), []
    for step in range(1, steps + 1):
        asked = population.instructed([Sample("?", id=str(at)) for at in range(A_STEP)], seed, step)
        ids = {member.text: member.id for member in population.members}
        groups = []
        for at, sample in enumerate(asked):
            number = ids[sample.instruction or ""]
            drawn[number] += not gone
            question, found = rewards(step, at, number)
            groups.append(_group(replace(sample, id=question), found))
        population = population.after(groups, step)
        if population.due(step):
            stay = replace(population.surviving(), renewed=step)
            kept = {member.id for member in stay.members}
            gone += [member for member in population.members if member.id not in kept]
            population = stay
    total = drawn.total()
    return [drawn[number] / total for number in range(MEMBERS)], gone


def sampled(model: str, steps: int) -> Rollouts:
    """The rewards of a packaged model at its task, whose questions are asked again and again."""
    torch.set_num_threads(1)
    policy, task = aepo.load_policy(model), tasks.load(model, {"size": QUESTIONS + 4, "held_out": 4})
    config = aepo.load_config(None, [f"task.name={model}", "rollout.max_tokens=256", "train.threads=1"])
    (agent, _), scorer = agents(policy, task, config, task.samples), scorer_of(task, config)
    rules, found = IndependentSamples(PATHS), []
    for step in range(steps):
        asked, seeds = step_questions(task.samples, A_STEP, 0, step), Seeds(0, step)
        groups = event_loop.run(partial(explore, asked, agent, rules, rules.initial_state(2), seeds, scorer))
        found.append([(group.sample.id, group.rewards) for group in groups])
        if step % 10 == 9:
            print(f"step {step + 1} of {steps}", file=sys.stderr, flush=True)
    return found


def _group(sample: Sample, rewards: Sequence[float]) -> Group:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [0], 0)
    for path, reward in enumerate(rewards):
        node = tree.add(prompt.id, Kind.POLICY, [0], path)
        tree.leaves.append(Leaf(path, node.id, Origin.GLOBAL, StopReason.ANSWER, reward=reward))
    return Group(sample, tree)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=("atlas", "house"), help="take its rewards instead of drawn ones")
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    rollouts = None if given.model is None else sampled(given.model, given.steps)
    print("| credit | gain | min_groups | share of the draw, 0 to 3 | dropped a seed | lost 1 | least groups |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for credit in ("question", "step"):
        for gain in (0.0, 0.05, 0.1, 0.3) if rollouts is None else (0.0,):
            for least in (64, 8):
                found = false_drops(20, given.steps, gain, credit, least, rollouts=rollouts)
                shares = " ".join(f"{100 * share:.0f} %" for share in found.shares)
                print(
                    f"| {credit} | {gain:g} | {least} | {shares} | {found.dropped:.1f} | {found.lost} of 20 | "
                    f"{found.least_groups} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
