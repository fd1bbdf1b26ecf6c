"""What stands between a rollout and its update: old log-probabilities, and weights for the sampler's difference."""

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
    """The batch as `update` takes it, by `train.old_logprobs` and `train.correction`; before the first update.

    With `recompute` a pass without gradient computes the log-probabilities anew, in the layout of training. The ratios
    of the loss are then to those. A correction's weights are put into the advantages: every loss here is positively
    homogeneous in A, so that w ell(r, A) = ell(r, w A), on trees and on whole trajectories. The KL term has no weight.
    Trajectories that training does not read are left as they are.

    Args:
        learner: Policy and settings.
        batch: All trajectories of the step, as the sampler left them.

    Returns:
        The batch, and the metrics: with `recompute` those of `StepFigures.differences`, here over the whole step; with
        a correction also `correction/effective_sample_size`, `correction/cut_share` and `correction/dropped_share`, see
        `aepo.core.correction.Correction`.

    Raises:
        OutOfMemory: The device's memory is full.
    """
    settings = learner.settings
    busy_B = busy_rows(batch, learner.reference)
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
