"""Prepares a rollout for its update: old log-probabilities, and weights that correct the sampler's difference."""

from __future__ import annotations

from dataclasses import replace

import torch

from aepo.core.correction import correction
from aepo.process.memory import memory_advice
from aepo.training.batch import Batch
from aepo.training.figures import StepFigures
from aepo.training.objective import Objective
from aepo.training.reading import busy_rows, read
from aepo.training.step import LESS_MEMORY, Learner


@memory_advice("training", LESS_MEMORY)
@torch.no_grad()
def corrected(learner: Learner, batch: Batch) -> tuple[Batch, dict[str, float]]:
    """Prepare a batch for `update` by `train.old_logprobs` and `train.correction`; call it before the first update.

    With `recompute`, a pass without gradient computes the log-probabilities again, in the layout of training, and the
    ratios of the loss use these. The weights of a correction are multiplied into the advantages. This is right because
    every loss here is positively homogeneous in A: w ell(r, A) = ell(r, w A), on trees and on whole trajectories. The
    KL term has no weight. Trajectories that training does not read do not change.

    Args:
        learner: Policy and settings.
        batch: All trajectories of the step, as the sampler left them.

    Returns:
        The batch, and the metrics. With `recompute` these are those of `StepFigures.differences`, over the whole step.
        A correction adds `correction/effective_sample_size`, `correction/cut_share` and `correction/dropped_share`, see
        `aepo.core.correction.Correction`.

    Raises:
        OutOfMemory: The device's memory is full.
    """
    settings = learner.settings
    busy_B = busy_rows(batch, learner.has_kl_term)
    if settings.old_logprobs == "rollout" or not len(busy_B):
        return batch, {}
    tokens = float(batch.loss_mask_BT[busy_B].sum())
    of = Objective(learner.algorithm, learner.policy, None, learner.temperature, tokens, float(len(busy_B)))
    old_BT = batch.old_logprobs_BT.clone()
    figures = StepFigures()
    for one in read(of, batch, busy_B, settings, learner.policy.device, old_BT)[1]:
        figures += StepFigures.of(one, of, tokens)
    metrics = figures.differences()
    anew = replace(batch, old_logprobs_BT=old_BT)
    if settings.correction == "none":
        return anew, metrics
    how = (settings.correction, settings.correction_level, settings.correction_cap, settings.correction_floor)
    found = correction(old_BT[busy_B], batch.old_logprobs_BT[busy_B], batch.loss_mask_BT[busy_B], *how)
    advantages_BT = batch.advantages_BT.clone()
    advantages_BT[busy_B] *= found.weights
    metrics |= {
        "correction/effective_sample_size": found.effective_sample_size,
        "correction/cut_share": found.cut_share,
        "correction/dropped_share": found.dropped_share,
    }
    return replace(anew, advantages_BT=advantages_BT), metrics
