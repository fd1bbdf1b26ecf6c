"""The loss of TRL's forward passes, and the figures of the optimizer step that they belong to."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from aepo.algorithms import AnyAlgorithm
from aepo.config import Layout
from aepo.core.aggregation import row_weights
from aepo.engines.trl.batches import MicroBatch
from aepo.training.figures import StepFigures, reading_metrics
from aepo.training.objective import Logprobs, Objective, flat_passes, tree_passes
from aepo.training.step import NonFiniteLoss
from aepo.training.tree import Reading, forest


class StepLoss:
    """Computes the losses of an optimizer step, which add up to its mean, and adds up its figures.

    Attributes:
        reference: The reference model of the KL term; None without one.
    """

    def __init__(
        self, policy: Logprobs, reference: Logprobs | None, temperature: float, layout: Layout, passes: int
    ) -> None:
        """Nothing is added up.

        Args:
            policy: The trained model.
            reference: The reference model of the KL term; None without one.
            temperature: The temperature of sampling.
            layout: "tree" computes each distinct token of a forward pass once, "flat" each trajectory whole.
            passes: The number of forward passes per optimizer step.
        """
        self.reference = reference
        self._policy, self._temperature = policy, temperature
        self._tree, self._passes = layout == "tree", passes
        self._figures, self._reading = StepFigures(), Reading()

    def of(self, part: MicroBatch, algorithm: AnyAlgorithm, device: torch.device) -> Tensor | None:
        """The algorithm's loss of one forward pass; None if it has no trajectory.

        Raises:
            NonFiniteLoss: The loss is not finite; the step was not taken.
        """
        self._reading += Reading(part.idle_share / self._passes)
        if part.batch is None:
            return None
        counts = (part.tokens, part.trajectories)
        of = Objective(algorithm, self._policy, self.reference, self._temperature, *counts)
        if self._tree:
            weights_B = row_weights(part.batch.loss_mask_BT, algorithm.aggregation, *counts)
            grown = forest(part.batch, weights_B, sys.maxsize)
            self._reading += grown.reading
            (found,) = tree_passes(of, [tree.to(device) for tree in grown.batches])
        else:
            (found,) = flat_passes(of, [part.batch.to(device)])
        if not bool(torch.isfinite(found.loss)):
            raise NonFiniteLoss("the loss is not finite: check the rewards, and lower the learning rate")
        self._figures += StepFigures.of(found, of, part.computed)
        return found.loss

    def metrics(self, norm: float) -> dict[str, float]:
        """The figures of the step, whose gradient has this norm; the next step begins."""
        figures = {**self._figures.metrics(), **self._figures.differences(), "grad/norm": norm}
        # TRL logs the loss.
        del figures["loss"]
        found = figures | reading_metrics([self._reading], self._tree)
        self._figures, self._reading = StepFigures(), Reading()
        return found
