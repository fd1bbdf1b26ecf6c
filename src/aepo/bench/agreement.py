"""Measures how far the log-probabilities of a sampler and of training are apart before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aepo.bench.sampling import engine_for, open_all, random_prompts
from aepo.core.trie import trie
from aepo.doctor.measure import grow
from aepo.process import event_loop
from aepo.rollout.generator import Sampled

if TYPE_CHECKING:
    from aepo.engines.local.policy import LocalPolicy

ROWS_A_PROMPT = 4
NEAR = (0.8, 1.2)
"""Ratios that losses usually do not clip."""


def agreement(policy: LocalPolicy, rows: int, length: int, tokens: int, temperature: float) -> dict[str, float]:
    """Sample, and score the samples flat and on the tree; differences come only from rounding.

    Args:
        policy: The policy, which does not change. Its sampler samples.
        rows: The number of sequences; four of them continue the same prompt.
        length: The number of tokens of a prompt.
        tokens: The number of sampled tokens of each row.
        temperature: The temperature of sampling and of the scores.

    Returns:
        For "flat" and for "tree", "/mean" and "/max" of |d|, with d the difference of ln p in nats, and "/outside", the
        share of ratios exp(d) outside of `NEAR`. And "entropy", the mean entropy of the distributions, in nats.
    """
    prompts = random_prompts(len(policy.tokenizer), -(-rows // ROWS_A_PROMPT), length)
    given = prompts.repeat_interleave(ROWS_A_PROMPT, 0)[:rows]
    engine = engine_for(policy.sampler, given, tokens, temperature)

    async def main() -> list[Sampled]:
        async with engine:
            return await grow(engine, open_all(engine, given), tokens)

    found = event_loop.run(main)
    tokens_BT = torch.cat([given, torch.tensor([one.tokens for one in found])], 1)
    old_N = torch.tensor([one.logprobs for one in found]).flatten()
    entropies = torch.tensor([one.entropies for one in found])
    with torch.no_grad():
        flat_N = _flat(policy, tokens_BT, length, temperature)
        tree_N = _tree(policy, tokens_BT, length, temperature)
    return {
        **_compared("flat", flat_N, old_N),
        **_compared("tree", tree_N, old_N),
        "entropy": float(entropies.mean()),
    }


def _flat(policy: LocalPolicy, tokens_BT: Tensor, length: int, temperature: float) -> Tensor:
    wanted_T = torch.zeros_like(tokens_BT[0])
    wanted_T[length:] = 1
    rows = [
        policy.score(tokens_T[None].to(policy.device), wanted_T[None].to(policy.device), temperature)
        for tokens_T in tokens_BT
    ]
    return torch.cat(rows)[:, length:].flatten()


def _tree(policy: LocalPolicy, tokens_BT: Tensor, length: int, temperature: float) -> Tensor:
    rows, total = tokens_BT.shape
    tree = trie(tokens_BT[:, :-1], torch.full((rows,), total - 1), torch.arange(rows) // ROWS_A_PROMPT)
    places_K, targets_K = tree.places_BT[:, length - 1 :].flatten(), tokens_BT[:, length:].flatten()
    device = policy.device
    return policy.score_tree(tree.to(device), places_K.to(device), targets_K.to(device), temperature)


def _compared(layout: str, new_N: Tensor, old_N: Tensor) -> dict[str, float]:
    difference_N = new_N.float().cpu() - old_N
    ratio_N = difference_N.exp()
    outside_N = (ratio_N < NEAR[0]) | (ratio_N > NEAR[1])
    return {
        f"{layout}/mean": float(difference_N.abs().mean()),
        f"{layout}/max": float(difference_N.abs().max()),
        f"{layout}/outside": float(outside_N.float().mean()),
    }
