"""Measures an optimizer step on random trajectories, whole or as trees, and the seconds of the optimizer itself."""

from __future__ import annotations

import random
import time
from types import MethodType

import torch

from aepo.algorithms import AEPO
from aepo.config import TrainConfig
from aepo.training.batch import Batch
from aepo.training.step import Learner, TrainablePolicy, update

GUESSED = -9.0
"""The supposed ln p of the random tokens under the policy that wrote them."""


def made_up(vocabulary: int, groups: int, rows: int, shared: int, alone: int) -> Batch:
    """Random trajectories that share their first tokens with others of their question; half of these are the prompt.

    Args:
        vocabulary: The ids are random numbers below it.
        groups: The number of questions.
        rows: The number of trajectories per question.
        shared: The number of tokens that a question's trajectories have in common.
        alone: The number of further tokens of each trajectory.
    """
    chance = torch.Generator().manual_seed(1)
    tokens_BT = torch.randint(0, vocabulary, (groups * rows, shared + alone), generator=chance)
    tokens_GRT = tokens_BT.view(groups, rows, -1)
    tokens_GRT[:, :, :shared] = tokens_GRT[:, :1, :shared].clone()
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[:, : max(1, shared // 2)] = 0
    old_BT = torch.full(tokens_BT.shape, GUESSED) * mask_BT
    advantages_BT = torch.randn(groups * rows, 1, generator=chance) * mask_BT
    groups_B = torch.arange(groups).repeat_interleave(rows)
    return Batch(tokens_BT, mask_BT, old_BT, -old_BT, advantages_BT, groups_B, groups_B * 0 + shared + alone)


def shared_for(sharing: float, alone: int, rows: int) -> int:
    """The number P of shared tokens with which a flat step reads each distinct token s times on average.

    It solves k (P + S) / (P + k S) = s for k rows with S tokens of their own.
    """
    return round(rows * alone * (sharing - 1) / (rows - sharing))


class TrainingStep:
    """Makes optimizer steps as in a run, on given trajectories.

    Args:
        policy: The policy that is trained.
        optimizer: The optimizer of its parameters. At a learning rate of 0 the weights do not change.
        settings: The layout and size of a pass.
        temperature: The temperature of the log-probabilities.
    """

    def __init__(
        self,
        policy: TrainablePolicy,
        optimizer: torch.optim.Optimizer,
        settings: TrainConfig,
        temperature: float = 1.0,
    ) -> None:
        once = settings.model_copy(update={"minibatches": 1, "epochs": 1})
        take, self._stepping = optimizer.step, 0.0

        def timed(optimizer: torch.optim.Optimizer) -> None:
            _finish(policy.device)
            began = time.perf_counter()
            take()
            _finish(policy.device)
            self._stepping += time.perf_counter() - began

        # Only the optimizer's own step is timed, for any optimizer.
        optimizer.step = MethodType(timed, optimizer)  # type: ignore[method-assign]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        self._learner = Learner(policy, optimizer, schedule, AEPO(), once, temperature)

    def __call__(self, batch: Batch) -> dict[str, float]:
        """Take a step; returns its metrics with the seconds of the optimizer as "optimizer_seconds"."""
        self._stepping = 0.0
        metrics = update(self._learner, batch, random.Random(0))
        self._learner.optimizer.zero_grad(set_to_none=True)
        return {**metrics, "optimizer_seconds": self._stepping}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
