"""Divides a rollout for TRL's trainer into optimizer steps with the same number of forward passes each."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from aepo.training.batch import Batch, minibatches
from aepo.training.objective import Logprobs
from aepo.training.reading import busy_rows


@dataclass(frozen=True)
class MicroBatch:
    """The batch of one call of the loss, with the counts of its optimizer step.

    Attributes:
        batch: Whole groups, without trajectories that add nothing to the gradient; None if none is left.
        tokens: The number of trained tokens of the optimizer step, those of left-out trajectories included.
        trajectories: The number of trajectories of the optimizer step with a trained token.
        computed: The number of trained tokens of the optimizer step that are computed.
        idle_share: The share of trajectories of the optimizer step that are not computed.
    """

    batch: Batch | None
    tokens: float = 1.0
    trajectories: float = 1.0
    computed: float = 1.0
    idle_share: float = 1.0


def divide(
    batch: Batch, steps: int, passes: int, epochs: int, rng: random.Random, reference: Logprobs | None
) -> list[MicroBatch]:
    """`epochs` * `steps` * `passes` micro-batches, in the order of training.

    An epoch is `steps` optimizer steps of `passes` forward passes each. The trajectories of a question stay together in
    an optimizer step (see `minibatches`) and in a pass. If a rollout has fewer groups than wanted, the last ones are
    not full.
    """
    found: list[MicroBatch] = []
    for _ in range(epochs):
        rows = minibatches(batch.groups_B, steps, rng)
        for rows_B in rows:
            found += _passes(batch.rows(rows_B), passes, reference)
        found += [MicroBatch(None)] * ((steps - len(rows)) * passes)
    return found


def _passes(step: Batch, passes: int, reference: Logprobs | None) -> list[MicroBatch]:
    """One optimizer step."""
    tokens = float(step.loss_mask_BT.sum())
    trajectories = float((step.loss_mask_BT.sum(-1) > 0).sum())
    busy_B = busy_rows(step, reference is not None)
    computed = max(float(step.loss_mask_BT[busy_B].sum()), 1.0)
    idle_share = 1.0 - len(busy_B) / len(step.lengths_B)
    names = step.groups_B.unique()
    rows = [busy_B[torch.isin(step.groups_B[busy_B], names[part::passes])] for part in range(passes)]
    parts = [step.rows(rows_B) if len(rows_B) else None for rows_B in rows]
    return [MicroBatch(part, tokens, trajectories, computed, idle_share) for part in parts]
