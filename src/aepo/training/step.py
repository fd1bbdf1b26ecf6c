"""Trains on one batch in several optimizer steps: forward, loss, backward, clip, step; with their metrics."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.config import TrainConfig
from aepo.process.memory import memory_advice
from aepo.training.batch import Batch, minibatches
from aepo.training.figures import StepFigures, mean, reading_metrics
from aepo.training.objective import Logprobs, Objective
from aepo.training.reading import busy_rows, read
from aepo.training.tree import Reading
from aepo.training.trust import Trust

LESS_MEMORY = "lower train.micro_batch_tokens, set model.gradient_checkpointing: true, or use model.lora"


class TrainablePolicy(Logprobs, Protocol):
    """A policy that can be trained."""

    device: torch.device

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """The trained parameters."""
        ...

    def weights(self) -> Mapping[str, Tensor]:
        """The weights as `save` takes them, in the machine's memory; later updates do not change them."""
        ...

    def save(self, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the tokenizer and the given weights; by default the current ones."""
        ...

    def restore(self, folder: str | Path) -> None:
        """Load the weights that `save` wrote."""
        ...


class NonFiniteLoss(RuntimeError):
    """The loss is NaN or infinite; the step was not taken."""


@dataclass(frozen=True)
class Learner:
    """The parts of an update, the same over a whole run.

    Attributes:
        policy: The trained policy, which is changed in place.
        optimizer: Updates its parameters.
        schedule: The schedule of the learning rate, stepped once per optimizer step.
        algorithm: Gives the loss.
        settings: Minibatches, epochs, layout, and the size of a forward pass.
        temperature: The temperature of sampling.
        reference: The reference model of the KL term; None without one.
        trust: The rule that keeps updates near the sampler; None is the algorithm's own clip.
    """

    policy: TrainablePolicy
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    algorithm: Algorithm
    settings: TrainConfig
    temperature: float = 1.0
    reference: Logprobs | None = None
    trust: Trust | None = None

    @property
    def has_kl_term(self) -> bool:
        """Whether the loss has a KL term, which every trained token adds to."""
        return self.reference is not None or (self.trust is not None and self.trust.settings.has_kl_term)


@memory_advice("training", LESS_MEMORY)
def update(learner: Learner, batch: Batch, rng: random.Random, seen_BT: Tensor | None = None) -> dict[str, float]:
    """Train on one rollout.

    Args:
        learner: Policy, optimizer and settings.
        batch: All trajectories of the step, with advantages; `corrected` may have changed old log-probabilities and
            weights.
        rng: Shuffles questions into minibatches.
        seen_BT: A tensor on the CPU; it gets ln p of each trained token in the last pass over it. Entries of tokens
            that are not computed do not change.

    Returns:
        Metrics, averaged over optimizer steps. Those of `StepFigures.differences` compare the old log-probabilities
        with those computed here, before the first optimizer step.
        `train/idle_share` is the share of trajectories that were not computed, because they would add nothing to any
        gradient: none of their tokens is trained, or all their advantages are 0 (as in every group of equal rewards)
        and there is no KL term. On the tree, `train/distinct_tokens` is the number of distinct tokens that the model
        reads, `train/sharing` is how often it would have read each of them trajectory by trajectory, and
        `train/repeated_tokens` is the number of tokens that are read again because a tree was split.

    Raises:
        OutOfMemory: The device's memory is full.
        NonFiniteLoss: A loss is not finite. The weights are those before that optimizer step.
    """
    settings = learner.settings
    steps: list[StepFigures] = []
    readings: list[Reading] = []
    norms: list[float] = []
    weights: list[dict[str, float]] = []
    for _ in range(settings.epochs):
        for rows_B in minibatches(batch.groups_B, settings.minibatches, rng):
            part = batch.rows(rows_B)
            learner.optimizer.zero_grad(set_to_none=True)
            found_BT = None if seen_BT is None else seen_BT[rows_B, : part.tokens_BT.shape[1]]
            figures, reading = accumulate(learner, part, found_BT)
            if seen_BT is not None and found_BT is not None:
                seen_BT[rows_B, : part.tokens_BT.shape[1]] = found_BT
            norms.append(_optimize(learner, len(steps)))
            steps.append(figures)
            readings.append(reading)
            weights.append({} if learner.trust is None else learner.trust.after(figures.rollout_k3))
    return {
        **mean([figures.metrics() for figures in steps]),
        **reading_metrics(readings, settings.layout == "tree"),
        **mean([{"grad/norm": norm} for norm in norms]),
        **mean(weights),
        **steps[0].differences(),
        "train/optimizer_steps": float(len(steps)),
        "train/learning_rate": learner.schedule.get_last_lr()[0],
    }


def _optimize(learner: Learner, taken: int) -> float:
    """Take one optimizer step after `taken` others; returns the gradient's norm before clipping."""
    norm = torch.nn.utils.clip_grad_norm_(learner.policy.parameters(), learner.settings.max_grad_norm)
    if not bool(torch.isfinite(norm)):
        learner.optimizer.zero_grad(set_to_none=True)
        raise NonFiniteLoss(
            f"the gradient is not finite after {taken} optimizer steps of this batch; lower the learning rate"
        )
    learner.optimizer.step()
    learner.schedule.step()
    return float(norm)


def accumulate(learner: Learner, part: Batch, seen_BT: Tensor | None = None) -> tuple[StepFigures, Reading]:
    """Add the gradient of one optimizer step to the parameters' own; arguments and errors as of `update`."""
    policy = learner.policy
    tokens = float(part.loss_mask_BT.sum())
    trajectories = float((part.loss_mask_BT.sum(-1) > 0).sum())
    of = Objective(
        learner.algorithm, policy, learner.reference, learner.temperature, tokens, trajectories, learner.trust
    )
    busy_B = busy_rows(part, learner.has_kl_term)
    computed = max(float(part.loss_mask_BT[busy_B].sum()), 1.0)
    reading = Reading(1.0 - len(busy_B) / len(part.lengths_B))
    figures = StepFigures()
    if not len(busy_B):
        # The optimizer skips parameters without a gradient, but its momentum must still move these.
        for parameter in policy.parameters():
            parameter.grad = torch.zeros_like(parameter, dtype=parameter.grad_dtype)
        return figures, reading
    more, passes = read(of, part, busy_B, learner.settings, policy.device, seen_BT)
    for found in passes:
        if not bool(torch.isfinite(found.loss)):
            raise NonFiniteLoss("the loss is not finite: check the rewards, and lower the learning rate")
        found.loss.backward()
        figures += StepFigures.of(found, of, computed)
    return figures, reading + more
