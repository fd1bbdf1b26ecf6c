"""Measures seconds and memory of a training step, flat and on the tree, and the difference of trainer and sampler."""

from __future__ import annotations

import random
from dataclasses import dataclass

import anyio
import torch
from torch import Tensor

from aepo.algorithms import AEPO
from aepo.config import Layout, TrainConfig
from aepo.core.noise import noise_key
from aepo.core.trie import trie
from aepo.engines.local.policy import LocalPolicy
from aepo.rollout.generator import Sampled, Stop
from aepo.training.batch import Batch
from aepo.training.step import Learner, TrainablePolicy, update

from .sampling import engine_of, prompts_of


def made_up(vocabulary: int, groups: int, rows: int, shared: int, alone: int) -> Batch:
    """Random trajectories that share their first tokens with others of their question; half of these are the prompt.

    Args:
        vocabulary: Ids are random numbers below it.
        groups: Number of questions.
        rows: Trajectories per question.
        shared: Tokens that a question's trajectories have in common.
        alone: Further tokens of each trajectory.
    """
    chance = torch.Generator().manual_seed(1)
    tokens_BT = torch.randint(0, vocabulary, (groups * rows, shared + alone), generator=chance)
    first_GT = tokens_BT.view(groups, rows, -1)[:, :1, :shared]
    tokens_BT.view(groups, rows, -1)[:, :, :shared] = first_GT
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[:, : shared // 2] = 0
    old_BT = torch.full(tokens_BT.shape, -9.0) * mask_BT
    advantages_BT = torch.randn(groups * rows, 1, generator=chance) * mask_BT
    groups_B = torch.arange(groups).repeat_interleave(rows)
    return Batch(tokens_BT, mask_BT, old_BT, -old_BT, advantages_BT, groups_B, groups_B * 0 + shared + alone)


def shared_for(sharing: float, alone: int, rows: int) -> int:
    """Tokens to share so that a flat step reads each distinct token `sharing` times: P of k (P + S) / (P + k S) = s."""
    return round(rows * alone * (sharing - 1) / (rows - sharing))


def trained(policy: TrainablePolicy, layout: Layout, batch: Batch, micro_batch_tokens: int) -> dict[str, float]:
    """Run forward and backward of one optimizer step, without the optimizer; returns its metrics."""
    parameters = list(policy.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.0)
    try:
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        settings = TrainConfig(minibatches=1, micro_batch_tokens=micro_batch_tokens, layout=layout)
        return update(Learner(policy, optimizer, schedule, AEPO(), settings), batch, random.Random(0))
    finally:
        optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True)
class Agreement:
    """Difference of ln p of trainer and sampler for tokens that were just sampled; only rounding causes it.

    Attributes:
        mean: Mean of the absolute difference, nats.
        p99: 99th percentile of the absolute difference.
        largest: Largest absolute difference.
        outside: Share of ratios outside 0.8 to 1.2, which a loss would clip.
    """

    mean: float
    p99: float
    largest: float
    outside: float


def agreement(
    policy: LocalPolicy, prompts: int, rows: int, length: int, tokens: int, temperature: float
) -> dict[str, Agreement | float]:
    """Sample, and score the samples flat and on the tree.

    Args:
        policy: The policy, which is not changed.
        prompts: Number of distinct prompts.
        rows: Rows per prompt.
        length: Tokens of a prompt.
        tokens: Sampled tokens per row.
        temperature: With random weights, a low temperature makes the distributions as sharp as a trained model's.

    Returns:
        "flat" and "tree", and "entropy": the mean entropy of the distributions, nats.
    """
    count = prompts * rows
    given = prompts_of(policy, prompts, length)
    engine = engine_of(policy, count, length + tokens, temperature)
    out: list[Sampled | None] = [None] * count

    async def main() -> None:
        async with engine:
            opened = [engine.open(given[i // rows].tolist(), noise_key("agreement", i)) for i in range(count)]

            async def one(i: int) -> None:
                out[i] = await engine.sample(opened[i], tokens, Stop())

            async with anyio.create_task_group() as tasks:
                for i in range(count):
                    tasks.start_soon(one, i)

    anyio.run(main)
    found = [s for s in out if s is not None]
    tokens_BT = torch.cat([given.repeat_interleave(rows, 0), torch.tensor([s.tokens for s in found])], 1)
    wanted_BT = torch.zeros_like(tokens_BT)
    wanted_BT[:, length:] = 1
    old_N = torch.tensor([s.logprobs for s in found]).flatten()
    with torch.no_grad():
        flat_BT = [
            policy.score(t[None].to(policy.device), w[None].to(policy.device), temperature)
            for t, w in zip(tokens_BT, wanted_BT, strict=True)
        ]
        tree = trie(tokens_BT[:, :-1], torch.full((count,), length + tokens - 1), torch.arange(count) // rows)
        places_K, targets_K = tree.places_BT[:, length - 1 :].flatten(), tokens_BT[:, length:].flatten()
        on_tree_K = policy.score_tree(
            tree.to(policy.device), places_K.to(policy.device), targets_K.to(policy.device), temperature
        )
    flat_N = torch.cat(flat_BT)[:, length:].flatten()
    entropy = float(torch.tensor([s.entropies for s in found]).mean())
    return {"flat": _compared(flat_N, old_N), "tree": _compared(on_tree_K, old_N), "entropy": entropy}


def _compared(new_N: Tensor, old_N: Tensor) -> Agreement:
    difference = new_N.float().cpu() - old_N
    ratio, size = difference.exp(), difference.abs()
    outside = ((ratio < 0.8) | (ratio > 1.2)).float().mean()
    return Agreement(float(size.mean()), float(size.quantile(0.99)), float(size.max()), float(outside))
