"""One batch, several optimizer steps: forward, loss, backward, clip, step; and what is worth knowing about them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.core.aggregation import aggregate
from aepo.core.losses import clip_fractions, kl_k3
from aepo.training.batch import Batch, micro_batches, minibatches


class Scorer(Protocol):
    """A model that says how likely given tokens are."""

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """(B, T): ln p of each token given those before it, at a temperature; 0 where `wanted_BT` is 0."""
        ...


class TrainablePolicy(Scorer, Protocol):
    """What an engine must offer to be trained."""

    device: torch.device

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Those that are trained."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write weights and tokenizer."""
        ...


class NonFiniteLoss(RuntimeError):
    """The loss is NaN or infinite; the step was not taken."""


def update(
    policy: TrainablePolicy,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    algorithm: Algorithm,
    batch: Batch,
    *,
    temperature: float,
    minibatch_count: int,
    epochs: int,
    max_grad_norm: float,
    micro_batch_tokens: int,
    rng: random.Random,
    reference: Scorer | None = None,
) -> dict[str, float]:
    """Train on one rollout.

    Args:
        policy: Changed in place.
        optimizer: Of its parameters.
        schedule: Of the learning rate; stepped once an optimizer step.
        algorithm: Gives the loss.
        batch: All trajectories of the step, with advantages.
        temperature: At which they were sampled.
        minibatch_count: Optimizer steps a pass.
        epochs: Passes.
        max_grad_norm: Gradients are scaled down to it.
        micro_batch_tokens: Padded tokens of a forward pass.
        rng: Shuffles questions into minibatches.
        reference: The model that the KL term is measured against.

    Returns:
        Metrics, averaged over optimizer steps. `logprobs/rollout_difference` compares the rollout's log-probabilities
        with those computed here before the first change: mean and largest absolute difference.
        `train/idle_share`: trajectories that were not computed, since all their advantages are 0 (every group of equal
        rewards) and no KL term wants them; they would add nothing to any gradient.

    Raises:
        NonFiniteLoss: A loss is not finite. Weights are as they were before that optimizer step.
    """
    totals: dict[str, float] = defaultdict(float)
    first: dict[str, float] = {}
    steps = 0
    for _ in range(epochs):
        for rows_B in minibatches(batch.groups_B, minibatch_count, rng):
            part = batch.rows(rows_B)
            optimizer.zero_grad(set_to_none=True)
            sums = _accumulate(policy, algorithm, part, temperature, micro_batch_tokens, reference)
            norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), max_grad_norm)
            if not bool(torch.isfinite(norm)):
                optimizer.zero_grad(set_to_none=True)
                raise NonFiniteLoss(
                    f"the gradient is not finite after {steps} optimizer steps of this batch; lower the learning rate"
                )
            optimizer.step()
            schedule.step()
            if steps == 0:
                first = {
                    "logprobs/rollout_difference_mean": sums.pop("difference"),
                    "logprobs/rollout_difference_max": sums.pop("difference_max"),
                }
            for name in ("difference", "difference_max"):
                sums.pop(name, None)
            for name, value in sums.items():
                totals[name] += value
            totals["grad/norm"] += float(norm)
            steps += 1
    metrics = {name: value / steps for name, value in totals.items()}
    return {**metrics, **first, "train/optimizer_steps": float(steps), "train/learning_rate": schedule.get_last_lr()[0]}


def _accumulate(
    policy: TrainablePolicy,
    algorithm: Algorithm,
    part: Batch,
    temperature: float,
    micro_batch_tokens: int,
    reference: Scorer | None,
) -> dict[str, float]:
    """Backward through one optimizer step's rows; sums of the metrics, weighed by trained tokens."""
    tokens = float(part.loss_mask_BT.sum())
    trajectories = float((part.loss_mask_BT.sum(-1) > 0).sum())
    busy_B = torch.arange(len(part.lengths_B))
    if reference is None:
        busy_B = ((part.advantages_BT != 0) & (part.loss_mask_BT != 0)).any(-1).nonzero()[:, 0]
    computed = max(float(part.loss_mask_BT[busy_B].sum()), 1.0)
    sums: dict[str, float] = defaultdict(float)
    sums["train/idle_share"] = 1.0 - len(busy_B) / len(part.lengths_B)
    for name in ("loss", "clip/low_fraction", "clip/high_fraction", "kl/rollout", "difference", "difference_max"):
        sums[name] = 0.0
    if not len(busy_B):
        # An optimizer passes over parameters without a gradient, but its momentum must go on.
        for parameter in policy.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return sums
    for rows_B in micro_batches(part.lengths_B[busy_B], micro_batch_tokens):
        micro = part.rows(busy_B[rows_B]).to(policy.device)
        mask_BT = micro.loss_mask_BT
        logprobs_BT = policy.score(micro.tokens_BT, mask_BT, temperature)
        loss_BT = algorithm.loss(logprobs_BT, micro.old_logprobs_BT, micro.advantages_BT)
        if reference is not None:
            with torch.no_grad():
                reference_BT = reference.score(micro.tokens_BT, mask_BT, temperature)
            kl_BT = kl_k3(logprobs_BT, reference_BT)
            loss_BT = loss_BT + algorithm.kl_weight * kl_BT
            sums["kl/reference"] += float((kl_BT.detach() * mask_BT).sum()) / computed
        loss = aggregate(loss_BT, mask_BT, algorithm.aggregation, tokens, trajectories)
        if not bool(torch.isfinite(loss)):
            raise NonFiniteLoss("the loss is not finite: check the rewards, and lower the learning rate")
        loss.backward()
        share = float(mask_BT.sum()) / tokens
        with torch.no_grad():
            low, high = clip_fractions(
                logprobs_BT,
                micro.old_logprobs_BT,
                micro.advantages_BT,
                mask_BT,
                algorithm.clip_low,
                algorithm.clip_high,
            )
            difference_BT = (logprobs_BT.detach() - micro.old_logprobs_BT) * mask_BT
            sums["loss"] += float(loss)
            sums["clip/low_fraction"] += float(low) * share
            sums["clip/high_fraction"] += float(high) * share
            sums["kl/rollout"] += float(-difference_BT.sum()) / computed
            sums["difference"] += float(difference_BT.abs().sum()) / computed
            sums["difference_max"] = max(sums["difference_max"], float(difference_BT.abs().max()))
    return sums
