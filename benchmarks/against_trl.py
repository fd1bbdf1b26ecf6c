"""A training step of ours beside one of TRL's `GRPOTrainer`: same model, task, tools, questions, k and limits.

Each side runs in processes of its own, one a repetition, the sides in turn. A process takes a step that does not count
and then some that do, each with fresh questions; the policy stays nearly as it was (learning rate 1e-5), and the table
shows tokens a trajectory and rewards, so that equal work can be seen. TRL runs in float32 with the same threads and
minibatches, without gradient checkpointing, logs and checkpoints; `trl_side.py` has its rollout, and says what is left
as TRL has it. What ours skips as idle, or computes once for all that share it, is part of the comparison.

rollout: sampling, tools, rewards. train: all else of a step; with TRL also the log-probabilities under the policy that
sampled, which ours notes while it samples. cpu: the process's time on a processor in a step; the tools' sandboxes are
not in it. MB: resident memory once loaded, and at its peak (Linux). Needs the extra `trl`.

    python benchmarks/against_trl.py quickstart --steps 3 --threads 1
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

from step_time import make_side, settings
from tree_training import resident_megabytes

from aepo import tasks
from aepo.algorithms import AEPO, GRPO
from aepo.config import Config, parse

SIDES = ("TRL grpo", "grpo", "aepo")
TARGET = 0.5


@dataclass(frozen=True)
class Measured:
    """One process of one side; medians over its steps.

    Attributes:
        rollout: Seconds.
        train: Seconds.
        step: Seconds.
        cpu: Seconds on a processor.
        tokens: Mean tokens of a trajectory after the prompt, observations included.
        reward: Mean.
        loaded: Resident MB before the first step.
        peak: Resident MB, the most.
    """

    rollout: float
    train: float
    step: float
    cpu: float
    tokens: float
    reward: float
    loaded: float
    peak: float


def measure_ours(side_name: str, base: dict[str, Any], steps: int) -> Measured:
    """Steps of our trainer, in this process."""
    group_size = parse(base).algorithm.group_size
    side = make_side(base, {"grpo": GRPO, "aepo": AEPO}[side_name](group_size=group_size))
    count, loaded = side.config.rollout.questions, resident_megabytes()[0]
    cpu, tokens, rewards = [], [], []
    for number in range(steps + 1):
        began = time.process_time()
        groups = side.step(side.parts.questions[number * count : (number + 1) * count], number)
        cpu.append(time.process_time() - began)
        trajectories = [trajectory for group in groups for trajectory in group.trajectories()]
        tokens.append(statistics.mean(len(t.tokens) - t.prompt_length for t in trajectories))
        rewards.append(statistics.mean(reward for group in groups for reward in group.rewards))
    return summary(side.rollout, side.train, cpu, tokens, rewards, loaded)


def measure_trl(config: Config, steps: int, micro_batch_rows: int) -> Measured:
    """Steps of TRL's trainer, in this process."""
    import torch
    from trl_side import Rollout, StepClock, make_trainer

    from aepo.assembly.policies import load_policy

    torch.set_num_threads(config.train.threads or torch.get_num_threads())
    policy = load_policy(config.model.path, config.model)
    rollout = Rollout(tasks.load(config.task.name, config.task.options), policy.tokenizer, config)
    clock = StepClock(config.train.minibatches)
    trainer = make_trainer(policy.model, rollout, clock, config, steps + 1, micro_batch_rows)
    loaded = resident_megabytes()[0]
    trainer.train()
    steps_taken, cpu = differences(clock.times), differences(clock.processor_times)
    train = [step - rolled for step, rolled in zip(steps_taken, rollout.seconds, strict=True)]
    return summary(rollout.seconds, train, cpu, rollout.tokens, rollout.rewards, loaded)


def differences(times: list[float]) -> list[float]:
    """From each to the next."""
    return [after - before for before, after in pairwise(times)]


def summary(
    rollout: list[float], train: list[float], cpu: list[float], tokens: list[float], rewards: list[float], loaded: float
) -> Measured:
    """Medians of seconds, means of what was sampled; all without the first step."""
    step = [sum(parts) for parts in zip(rollout, train, strict=True)]
    seconds = (statistics.median(times[1:]) for times in (rollout, train, step, cpu))
    sampled = (statistics.mean(values[1:]) for values in (tokens, rewards))
    return Measured(*seconds, *sampled, loaded, resident_megabytes()[1])


def in_a_process(side: str, arguments: list[str]) -> Measured:
    """What a side measured in a process of its own."""
    # Old names of settings, which TRL passes on.
    command = [sys.executable, "-W", "ignore::FutureWarning", __file__, *arguments, "--side", side]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Measured(**json.loads(out.splitlines()[-1]))


def median(runs: list[Measured]) -> Measured:
    """Field by field."""
    return Measured(*(statistics.median(getattr(run, f.name) for run in runs) for f in fields(Measured)))


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="quickstart")
    parser.add_argument("--steps", type=int, default=3, help="of each process, after the first")
    parser.add_argument("--repetitions", type=int, default=3, help="processes of each side")
    parser.add_argument("--questions", type=int, help="a step; else as configured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--micro-batch-rows", type=int, default=8, help="TRL's; ours are bounded by tokens")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("trl") is None:
        parser.error('TRL is not installed: pip install "aepo-rl[trl]"')
    base = settings(options.config, options.threads, options.questions)
    config = parse(base)
    if options.side == "TRL grpo":
        print(json.dumps(asdict(measure_trl(config, options.steps, options.micro_batch_rows))))
        return
    if options.side:
        print(json.dumps(asdict(measure_ours(options.side, base, options.steps))))
        return
    runs: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for repetition in range(options.repetitions):
        for side in SIDES if repetition % 2 == 0 else SIDES[::-1]:
            runs[side].append(in_a_process(side, sys.argv[1:]))
    print(f"{config.rollout.questions} questions x {config.algorithm.group_size}", end=", ")
    print(f"{config.rollout.max_tokens} tokens at most, {config.train.minibatches} minibatches", end=", ")
    print(f"{options.threads} thread(s), {options.repetitions} x {options.steps} steps")
    print(f"{platform.machine()}, Python {platform.python_version()}", end=", ")
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl")), end="\n\n")
    print(f"{'':9}{'rollout s':>11}{'train s':>9}{'step s':>8}{'/ TRL':>7}{'cpu s':>8}{'/ TRL':>7}", end="")
    print(f"{'tokens':>8}{'reward':>8}{'loaded MB':>11}{'peak MB':>9}")
    medians = {side: median(runs[side]) for side in SIDES}
    theirs = medians["TRL grpo"]
    for side, m in medians.items():
        print(f"{side:9}{m.rollout:11.2f}{m.train:9.2f}{m.step:8.2f}{m.step / theirs.step:7.2f}", end="")
        print(f"{m.cpu:8.2f}{m.cpu / theirs.cpu:7.2f}", end="")
        print(f"{m.tokens:8.1f}{m.reward:8.2f}{m.loaded:11.0f}{m.peak:9.0f}")
    print()
    for side in SIDES[1:]:
        print(f"step time {side} / TRL grpo: {medians[side].step / theirs.step:.2f} (target: at most {TARGET})")


if __name__ == "__main__":
    main()
