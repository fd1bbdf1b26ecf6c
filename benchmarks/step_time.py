"""Wall time of an AEPO step against a GRPO step: same model, task and number of trajectories, alternating in one run.

The settings are those of a configuration file; each step has fresh questions. Prints medians over the steps after the
first and the ratio; the target is a ratio of at most 1.15.

    python benchmarks/step_time.py quickstart --steps 6 --threads 2
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from aepo import tasks
from aepo.algorithms import AEPO, GRPO, Algorithm
from aepo.assembly.parts import build
from aepo.config import Config, merged, parse, read
from aepo.core.exploration import ExplorationState
from aepo.process import event_loop
from aepo.rollout.explorer import Seeds, executed_calls, explore
from aepo.training.batch import flat_batch
from aepo.training.loop import Parts
from aepo.training.metrics import exploration_update
from aepo.training.step import Learner, update
from aepo.types import Group, Kind, Sample


@dataclass
class Side:
    """One algorithm with a policy of its own, and what its steps took."""

    algorithm: Algorithm
    config: Config
    parts: Parts
    state: ExplorationState
    rollout: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def step(self, samples: Sequence[Sample], number: int) -> list[Group]:
        """One rollout and one update; gives the rollout's groups."""
        began = time.perf_counter()
        rules = self.algorithm.exploration()
        seeds = Seeds(0, number)
        groups = event_loop.run(explore, samples, self.parts.agent, rules, self.state, seeds, self.parts.scorer)
        rolled = time.perf_counter()
        self.state = exploration_update(groups, self.state)
        optimizer = torch.optim.AdamW(self.parts.policy.parameters(), lr=1e-5)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        learner = Learner(self.parts.policy, optimizer, schedule, self.algorithm, self.config.train)
        limit = self.config.rollout.max_tokens
        update(learner, flat_batch(groups, self.algorithm, self.parts.pad_token_id, limit), random.Random(number))
        self.rollout.append(rolled - began)
        self.train.append(time.perf_counter() - rolled)
        self.tokens.append(sum(len(n.tokens) for g in groups for n in g.tree.nodes if n.kind is Kind.POLICY))
        self.calls.append(sum(executed_calls(g.tree) for g in groups))
        return groups


def make_side(base: Mapping[str, Any], algorithm: Algorithm) -> Side:
    """A side under the settings `base`, its model loaded."""
    config = parse({**base, "algorithm": algorithm.model_dump()})
    _, parts = build(config, tasks.load(config.task.name, config.task.options))
    return Side(algorithm, config, parts, algorithm.exploration().initial_state(parts.vocab_size))


def settings(path: str, threads: int | None, questions: int | None) -> dict[str, Any]:
    """The keys of a configuration file with another number of threads or questions; the engine holds a whole step."""
    base = merged(read(path), {"train.threads": threads})
    if questions is None:
        return base
    held = questions * parse(base).algorithm.group_size
    return merged(base, {"rollout.questions": questions, "rollout.max_sequences": held})


def both(base: Mapping[str, Any]) -> tuple[Algorithm, Algorithm]:
    """GRPO, and AEPO with the settings of the file if it is the file's algorithm."""
    given = parse(base).algorithm
    return GRPO(group_size=given.group_size), given if given.name == "aepo" else AEPO(group_size=given.group_size)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", default="quickstart")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--questions", type=int, help="a step; else as configured")
    parser.add_argument("--threads", type=int, help="else the number that is fastest, as in training")
    options = parser.parse_args()
    base = settings(options.config, options.threads, options.questions)
    group_size, count = parse(base).algorithm.group_size, parse(base).rollout.questions
    algorithms = both(base)
    sides = {algorithm.name: make_side(base, algorithm) for algorithm in algorithms}
    questions = sides["aepo"].parts.questions
    for number in range(options.steps + 1):
        samples = questions[number * count : (number + 1) * count]
        order = list(sides.values()) if number % 2 else list(sides.values())[::-1]
        for side in order:
            side.step(samples, number)
    print(
        f"{options.config}: {count} questions x {group_size}, {options.steps} steps, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print(f"{'':8}{'rollout s':>11}{'train s':>10}{'step s':>9}{'tokens':>9}{'calls':>8}")
    totals = {}
    for name, side in sides.items():
        rollout, train = statistics.median(side.rollout[1:]), statistics.median(side.train[1:])
        totals[name] = statistics.median(a + b for a, b in zip(side.rollout[1:], side.train[1:], strict=True))
        tokens, calls = statistics.median(side.tokens[1:]), statistics.median(side.calls[1:])
        print(f"{name:8}{rollout:11.2f}{train:10.2f}{totals[name]:9.2f}{tokens:9.0f}{calls:8.0f}")
    print(f"step time aepo / grpo: {totals['aepo'] / totals['grpo']:.2f} (target: at most 1.15)")


if __name__ == "__main__":
    main()
