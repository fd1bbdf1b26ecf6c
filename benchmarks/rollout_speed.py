"""The whole rollout, with tools, exploration and rewards, beside the engine alone on the same trees.

The engine alone opens, samples, extends and forks the sequences of the rollout's own trees, node by node with as many
tokens as there, and waits for nobody: no tool, no parsing, no decision. Tokens per second count what the policy
sampled and what tools answered; prompts are not counted. The two alternate; each number is the median over the steps
after the first. The target is 0.8.

    python benchmarks/rollout_speed.py quickstart --steps 6 --threads 1
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import anyio
import anyio.abc
import torch
from step_time import Side, both, make_side, settings

from aepo.config import parse
from aepo.core.noise import noise_key
from aepo.rollout.generator import Generator, GrowingSequence, Stop
from aepo.types import Group, Kind, TrajectoryTree


async def grow(trees: Sequence[TrajectoryTree], engine: Generator) -> None:
    """Let the engine alone go through the trees, every sequence as early as it can."""
    async with engine, anyio.create_task_group() as tasks:
        for number, tree in enumerate(trees):
            children: dict[int | None, list[int]] = {}
            for node in tree.nodes:
                children.setdefault(node.parent, []).append(node.id)
            (root,) = children[None]
            opened = [
                (first, engine.open(tree.nodes[root].tokens, noise_key(number, first))) for first in children[root]
            ]
            for first, sequence in opened:
                tasks.start_soon(walk, tree, children, first, sequence, engine, number, tasks)


async def walk(
    tree: TrajectoryTree,
    children: dict[int | None, list[int]],
    first: int,
    sequence: GrowingSequence,
    engine: Generator,
    number: int,
    tasks: anyio.abc.TaskGroup,
) -> None:
    """Grow one sequence from the node `first` to a leaf, and begin those that part from it."""
    at: int | None = first
    while at is not None:
        node = tree.nodes[at]
        if node.kind is Kind.POLICY:
            await engine.sample(sequence, len(node.tokens), Stop())
        else:
            engine.extend(sequence, node.tokens)
        at, *others = children.get(at) or [None]
        for other in others:
            assert other is not None
            branch = engine.fork(sequence, sequence.length, noise_key(number, other))
            tasks.start_soon(walk, tree, children, other, branch, engine, number, tasks)
    engine.end(sequence)


def alone(side: Side, groups: Sequence[Group]) -> float:
    """Seconds that the engine needs for the trees of a rollout."""
    began = time.perf_counter()
    anyio.run(grow, [group.tree for group in groups], side.parts.agent.generator)
    return time.perf_counter() - began


def counted(groups: Sequence[Group]) -> int:
    """Tokens sampled and observed; shared ones once."""
    return sum(len(node.tokens) for group in groups for node in group.tree.nodes if node.kind is not Kind.PROMPT)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="quickstart")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--questions", type=int, help="a step; else as configured")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    base = settings(options.config, options.threads, options.questions)
    size, count = parse(base).algorithm.group_size, parse(base).rollout.questions
    print(f"{count} questions x {size}, {options.steps} steps, {options.threads} threads, torch {torch.__version__}")
    print(f"{'':8}{'rollout s':>11}{'engine s':>10}{'tokens':>9}{'rollout tok/s':>15}{'engine tok/s':>14}{'share':>7}")
    for algorithm in both(base):
        side = make_side(base, algorithm)
        rows: list[tuple[float, float, int]] = []
        for number in range(options.steps + 1):
            groups = side.step(side.parts.questions[number * count : (number + 1) * count], number)
            rows.append((side.rollout[-1], alone(side, groups), counted(groups)))
        rollout, engine, tokens = (statistics.median(column) for column in zip(*rows[1:], strict=True))
        print(
            f"{algorithm.name:8}{rollout:11.2f}{engine:10.2f}{tokens:9.0f}"
            f"{tokens / rollout:15,.0f}{tokens / engine:14,.0f}{engine / rollout:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
