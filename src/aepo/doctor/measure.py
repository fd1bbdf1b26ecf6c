"""Short measurements: how fast this machine decodes and trains with a model, and how many tokens a step has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import anyio
import torch

from aepo.doctor.estimate import Lengths, Speed
from aepo.doctor.trial import Trial
from aepo.process import event_loop
from aepo.rollout.generator import Generator, GeneratorSettings, GrowingSequence, Sampled, Stop

if TYPE_CHECKING:
    from aepo.config import Config
    from aepo.engines.local.policy import LocalPolicy
    from aepo.training.loop import Parts

CALLS = 24
WARM_UP = 2
FEW = 4
MOST = 64
REPETITIONS = 3
TRAIN_TOKENS = 2048


def speed(config: Config, parts: Parts) -> Speed:
    """Seconds of a decode call by its rows, and of a token of training."""
    policy = cast("LocalPolicy", parts.policy)
    prompt = parts.agent.protocol.prompt(parts.questions[0].question)
    rows = min(MOST, config.rollout.questions * config.algorithm.group_size)
    # One that waits for nobody, whatever the run's does: its calls cost the same.
    engine = policy.sampler.generator(
        GeneratorSettings(
            temperature=config.rollout.temperature, max_sequences=rows, max_length=len(prompt) + CALLS + WARM_UP
        )
    )
    few, many = (_decode(engine, prompt, count) for count in (min(FEW, rows), rows))
    row = max(0.0, (many - few) / max(1, rows - FEW))
    return Speed(max(0.0, few - FEW * row), row, _train(config, parts))


def lengths(config: Config, found: Trial) -> Lengths:
    """The tokens of a step, from a trial.

    Args:
        config: The run's.
        found: Its trial.
    """
    groups, scale = found.groups, found.scale * config.algorithm.rounds
    walks = [[trajectory.tokens for trajectory in group.trajectories()] for group in groups]
    tree, flat = sum(map(distinct_tokens, walks)), sum(len(tokens) for group in walks for tokens in group)
    # Groups of equal rewards are not computed; a few questions say only roughly how many those are.
    spread = sum(len(set(group.rewards)) > 1 for group in groups)
    trained = 1.0 if config.algorithm.kl_weight > 0 else (spread + 1) / (len(groups) + 2)
    written = found.spent.tokens_sampled
    return Lengths(
        written=round(written * scale),
        longest=max(sum(t.loss_mask) for group in groups for t in group.trajectories()),
        read=round(max(0, tree - written) * scale),
        distinct=round(trained * (flat if config.train.layout == "flat" else tree) * scale),
        trial=found,
    )


def distinct_tokens(sequences: Sequence[Sequence[int]]) -> int:
    """Tokens of sequences, those of equal beginnings once."""
    seen: set[int] = set()
    for sequence in sequences:
        before = 0
        for token in sequence:
            before = hash((before, token))
            seen.add(before)
    return len(seen)


def _decode(engine: Generator, prompt: list[int], rows: int) -> float:
    """Seconds of a decode call of so many rows."""

    async def main() -> float:
        async with engine:
            opened = [engine.open(prompt, noise) for noise in range(rows)]
            await grow(engine, opened, WARM_UP)  # the prompt is read, memory is there
            began = time.perf_counter()
            await grow(engine, opened, CALLS)
            return (time.perf_counter() - began) / CALLS

    return min(event_loop.run(main) for _ in range(REPETITIONS))


async def grow(engine: Generator, opened: Sequence[GrowingSequence], tokens: int) -> list[Sampled]:
    """Sample so many tokens in each sequence, together; nothing ends a turn earlier."""
    found: dict[int, Sampled] = {}

    async def one(number: int) -> None:
        found[number] = await engine.sample(opened[number], tokens, Stop())

    async with anyio.create_task_group() as tasks:
        for number in range(len(opened)):
            tasks.start_soon(one, number)
    return [found[number] for number in range(len(opened))]


def _train(config: Config, parts: Parts) -> float:
    """Seconds a token of a forward and backward pass, in passes of the size that training makes."""
    policy = parts.policy
    length = min(128, config.rollout.max_tokens)
    rows = max(1, min(TRAIN_TOKENS, config.train.micro_batch_tokens) // length)
    tokens_BT = torch.arange(rows * length).remainder(parts.vocab_size).reshape(rows, length).to(policy.device)
    wanted_BT = torch.ones_like(tokens_BT)
    wanted_BT[:, 0] = 0
    times = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        torch.autograd.backward(policy.score(tokens_BT, wanted_BT, 1.0).sum())
        if policy.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    for parameter in policy.parameters():
        parameter.grad = None
    return min(times) / (rows * length)
