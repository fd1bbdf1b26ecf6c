"""The losses and advantages of our algorithms for verl's workers and trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.core.aggregation import aggregate
from aepo.core.losses import clip_fractions
from aepo.engines.verl.process import run_config
from aepo.training.batch import flat_batch
from aepo.types import Group, Kind


def policy_loss(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The algorithm's loss of a micro-batch in verl's form.

    verl averages gradients over ranks, so the loss is multiplied by `dp_size`. Counts are those of the whole optimizer
    step.

    Args:
        old_log_prob: (B, T), from verl's pass before the update.
        log_prob: (B, T).
        advantages: (B, T).
        response_mask: (B, T), not 0 where the policy wrote the token; all 0 in a row that fills up a batch.
        loss_agg_mode: The algorithm's aggregation; verl uses it for the KL term.
        config: The actor's settings.
        rollout_is_weights: (B, T), verl's correction for servers that compute otherwise than the trainer.
    """
    algorithm, whole = run_config().algorithm, config.global_batch_info
    loss = algorithm.loss(log_prob, old_log_prob, advantages)
    if rollout_is_weights is not None:
        loss = loss * rollout_is_weights
    total = aggregate(loss, response_mask, loss_agg_mode, whole["batch_num_tokens"], whole["global_batch_size"])
    low, high = clip_fractions(
        log_prob, old_log_prob, advantages, response_mask, algorithm.clip_low, algorithm.clip_high
    )
    return total * whole["dp_size"], {"actor/clip_low_fraction": low.item(), "actor/clip_high_fraction": high.item()}


def advantages(
    groups: Sequence[Group], places: Sequence[Sequence[int]], entropy_BT: Tensor, algorithm: Algorithm, max_length: int
) -> Tensor:
    """(B, T) the algorithm's advantages of a step, for verl's rows, which hold no prompts.

    Args:
        groups: The step's questions, scored; their entropies become those of `entropy_BT`.
        places: verl's row of each leaf, in one list per group. Other rows fill up the batch and do not count.
        entropy_BT: The entropies of the tokens after the prompt in nats, from verl's pass for old log-probabilities.
        algorithm: Gives the advantages.
        max_length: The largest number of a trajectory's tokens after the prompt.
    """
    for group, of_group in zip(groups, places, strict=True):
        for leaf, row in zip(group.tree.leaves, of_group, strict=True):
            at = 0
            for node in group.tree.walk(leaf.node)[1:]:
                if node.kind is Kind.POLICY:
                    node.entropies = entropy_BT[row, at : at + len(node.tokens)].tolist()
                at += len(node.tokens)
    batch = flat_batch(groups, algorithm, 0, max_length)
    made_BT = torch.zeros_like(entropy_BT)
    rows = [(row, len(group.tree.nodes[0].tokens)) for group, of in zip(groups, places, strict=True) for row in of]
    for number, (row, prompt) in enumerate(rows):
        length = int(batch.lengths_B[number])
        made_BT[row, : length - prompt] = batch.advantages_BT[number, prompt:length]
    return made_BT
