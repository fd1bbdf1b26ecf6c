"""One batch, several optimizer steps: forward, loss, backward, clip, step; and what is worth knowing about them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.core.aggregation import row_weights
from aepo.out_of_memory import memory_advice
from aepo.training.batch import Batch, micro_batches, minibatches
from aepo.training.objective import Logprobs, Objective, Pass, flat_passes, tree_passes
from aepo.training.tree import Forest, forest

Layout = Literal["tree", "flat"]
"""Each distinct token once, or each trajectory whole."""


class TrainablePolicy(Logprobs, Protocol):
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


@memory_advice("training", "lower train.micro_batch_tokens, set model.gradient_checkpointing: true, or use model.lora")
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
    reference: Logprobs | None = None,
    layout: Layout = "tree",
    seen_BT: Tensor | None = None,
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
        micro_batch_tokens: Tokens of a forward pass: distinct ones, or with padding.
        rng: Shuffles questions into minibatches.
        reference: The model that the KL term is measured against.
        layout: What is computed; the result is the same, to rounding.
        seen_BT: Filled with ln p of each trained token as the last pass over it found it, on the CPU; tokens that were
            not computed keep what stands there.

    Returns:
        Metrics, averaged over optimizer steps. `logprobs/rollout_difference` compares the rollout's log-probabilities
        with those computed here before the first change: mean and largest absolute difference.
        `train/idle_share`: trajectories that were not computed, since none of their tokens is trained, or all their
        advantages are 0 (every group of equal rewards) and no KL term wants them; they would add nothing to any
        gradient. On the tree also
        `train/distinct_tokens`, what the model had to read of the others, `train/sharing`, how often it would have read
        each trajectory by trajectory, and `train/repeated_tokens`, those read again since a tree was split.

    Raises:
        OutOfMemory: The device's memory is full.
        NonFiniteLoss: A loss is not finite. Weights are as they were before that optimizer step.
    """
    totals: dict[str, float] = defaultdict(float)
    first: dict[str, float] = {}
    steps = 0
    for _ in range(epochs):
        for rows_B in minibatches(batch.groups_B, minibatch_count, rng):
            part = batch.rows(rows_B)
            optimizer.zero_grad(set_to_none=True)
            found_BT = None if seen_BT is None else seen_BT[rows_B, : part.tokens_BT.shape[1]]
            sums = _accumulate(policy, algorithm, part, temperature, micro_batch_tokens, reference, layout, found_BT)
            if seen_BT is not None and found_BT is not None:
                seen_BT[rows_B, : part.tokens_BT.shape[1]] = found_BT
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
    if layout == "tree":
        read = metrics.pop("flat_tokens")
        metrics["train/sharing"] = read / metrics["train/distinct_tokens"] if read else 1.0
    return {**metrics, **first, "train/optimizer_steps": float(steps), "train/learning_rate": schedule.get_last_lr()[0]}


def _accumulate(
    policy: TrainablePolicy,
    algorithm: Algorithm,
    part: Batch,
    temperature: float,
    micro_batch_tokens: int,
    reference: Logprobs | None,
    layout: Layout,
    seen_BT: Tensor | None,
) -> dict[str, float]:
    """Backward through one optimizer step's trajectories; metrics, of which some are only sums."""
    tokens = float(part.loss_mask_BT.sum())
    trajectories = float((part.loss_mask_BT.sum(-1) > 0).sum())
    of = Objective(algorithm, policy, reference, temperature, tokens, trajectories)
    busy_B = busy_rows(part, reference)
    computed = max(float(part.loss_mask_BT[busy_B].sum()), 1.0)
    sums = zero_sums(layout)
    sums["train/idle_share"] = 1.0 - len(busy_B) / len(part.lengths_B)
    if not len(busy_B):
        # An optimizer passes over parameters without a gradient, but its momentum must go on.
        for parameter in policy.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return sums
    rows: Sequence[Tensor] = ()
    grown: Forest | None = None
    if layout == "tree":
        weights_B = row_weights(part.loss_mask_BT, algorithm.aggregation, tokens, trajectories)
        grown = forest(part.rows(busy_B), weights_B[busy_B], micro_batch_tokens)
        sums["train/distinct_tokens"] = float(grown.distinct_tokens)
        sums["train/repeated_tokens"] = float(grown.repeated_tokens)
        sums["flat_tokens"] = float(grown.flat_tokens)
        passes = tree_passes(of, (batch.to(policy.device) for batch in grown.batches))
    else:
        rows = [busy_B[rows_B] for rows_B in micro_batches(part.lengths_B[busy_B], micro_batch_tokens)]
        passes = flat_passes(of, (part.rows(rows_B).to(policy.device) for rows_B in rows))
    logprobs = []
    for found in passes:
        if not bool(torch.isfinite(found.loss)):
            raise NonFiniteLoss("the loss is not finite: check the rewards, and lower the learning rate")
        found.loss.backward()
        note(sums, found, of, computed)
        if seen_BT is not None:
            logprobs.append(found.logprobs.float().cpu())
    if seen_BT is not None:
        _record(seen_BT, part, logprobs, busy_B, rows, grown)
    return sums


def zero_sums(layout: Layout) -> defaultdict[str, float]:
    """The figures of an optimizer step before its first pass; `note` adds to them."""
    names = ["loss", "clip/low_fraction", "clip/high_fraction", "kl/rollout", "difference", "difference_max"]
    if layout == "tree":
        names += ["train/distinct_tokens", "train/repeated_tokens", "flat_tokens"]
    return defaultdict(float, dict.fromkeys(names, 0.0))


def busy_rows(part: Batch, reference: Logprobs | None) -> Tensor:
    """Numbers of the rows that add something to the gradient of an optimizer step; see `train/idle_share` of `update`.

    Args:
        part: The step's trajectories.
        reference: The model that the KL term is measured against; None without one.
    """
    wanted_BT = part.loss_mask_BT != 0
    if reference is None:
        wanted_BT = wanted_BT & (part.advantages_BT != 0)
    return wanted_BT.any(-1).nonzero()[:, 0]


def note(sums: MutableMapping[str, float], found: Pass, of: Objective, computed: float) -> None:
    """Add the figures of a pass to those of its optimizer step.

    Args:
        sums: Of the step; all are sums but `difference_max`.
        found: The pass.
        of: What the step minimizes.
        computed: Trained tokens of the step that are computed.
    """
    sums["loss"] += float(found.loss.detach())
    sums["clip/low_fraction"] += found.low / of.tokens
    sums["clip/high_fraction"] += found.high / of.tokens
    sums["kl/rollout"] -= found.difference / computed
    if of.reference is not None:
        sums["kl/reference"] += found.reference_kl / computed
    sums["difference"] += found.absolute_difference / computed
    sums["difference_max"] = max(sums["difference_max"], found.largest_difference)


def _record(
    seen_BT: Tensor,
    part: Batch,
    logprobs: Sequence[Tensor],
    busy_B: Tensor,
    rows: Sequence[Tensor],
    grown: Forest | None,
) -> None:
    """Bring what each pass found to its rows: rows of the passes, or the forest of `busy_B` whose terms they are."""
    if grown is not None:
        values_M = torch.empty(sum(len(found_M) for found_M in logprobs))
        for batch, found_M in zip(grown.batches, logprobs, strict=True):
            values_M[batch.numbers_M] = found_M
        busy_BT = seen_BT[busy_B]
        grown.spread(values_M, busy_BT)
        seen_BT[busy_B] = busy_BT
        return
    for rows_B, found_BT in zip(rows, logprobs, strict=True):
        width = found_BT.shape[1]
        trained_BT = part.loss_mask_BT[rows_B, :width] != 0
        seen_BT[rows_B, :width] = torch.where(trained_BT, found_BT, seen_BT[rows_B, :width])
