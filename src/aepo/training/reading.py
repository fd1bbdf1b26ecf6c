"""Reads trajectories in forward passes, as trees or whole, and keeps how likely each token was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from aepo.config import TrainConfig
from aepo.core.aggregation import row_weights
from aepo.training.batch import Batch, micro_batches
from aepo.training.objective import Objective, Pass, flat_passes, tree_passes
from aepo.training.tree import Forest, Reading, forest


def busy_rows(part: Batch, kl_term: bool) -> Tensor:
    """The numbers of the rows that add to the gradient of an optimizer step; see `train/idle_share` of `update`.

    Args:
        part: The step's trajectories.
        kl_term: Whether the loss has a KL term, which every trained token adds to.
    """
    wanted_BT = part.loss_mask_BT != 0
    if not kl_term:
        wanted_BT = wanted_BT & (part.advantages_BT != 0)
    return wanted_BT.any(-1).nonzero()[:, 0]


def read(
    of: Objective, part: Batch, busy_B: Tensor, settings: TrainConfig, device: torch.device, seen_BT: Tensor | None
) -> tuple[Reading, Iterator[Pass]]:
    """Divide trajectories into passes; returns what the model will read, and the passes.

    Args:
        of: The objective.
        part: The trajectories, on the CPU.
        busy_B: The numbers of the trajectories to read.
        settings: The layout and size of a pass.
        device: The device of the model.
        seen_BT: A tensor on the CPU; the passes fill it with ln p of each trained token. None keeps nothing.
    """
    limit = settings.micro_batch_tokens
    if settings.layout == "tree":
        weights_B = row_weights(part.loss_mask_BT, of.algorithm.aggregation, of.tokens, of.trajectories)
        grown = forest(part.rows(busy_B), weights_B[busy_B], limit)
        return grown.reading, _on_trees(of, grown, busy_B, device, seen_BT)
    rows = [busy_B[rows_B] for rows_B in micro_batches(part.lengths_B[busy_B], limit)]
    return Reading(), _whole(of, part, rows, device, seen_BT)


def _on_trees(
    of: Objective, grown: Forest, busy_B: Tensor, device: torch.device, seen_BT: Tensor | None
) -> Iterator[Pass]:
    found_M = []
    for found in tree_passes(of, (batch.to(device) for batch in grown.batches)):
        yield found
        if seen_BT is not None:
            found_M.append(found.logprobs.float().cpu())
    if seen_BT is not None:
        values_M = torch.empty(sum(map(len, found_M)))
        values_M[torch.cat([batch.numbers_M for batch in grown.batches])] = torch.cat(found_M)
        busy_BT = seen_BT[busy_B]
        grown.spread(values_M, busy_BT)
        seen_BT[busy_B] = busy_BT


def _whole(
    of: Objective, part: Batch, rows: Sequence[Tensor], device: torch.device, seen_BT: Tensor | None
) -> Iterator[Pass]:
    passes = flat_passes(of, (part.rows(rows_B).to(device) for rows_B in rows))
    for rows_B, found in zip(rows, passes, strict=True):
        yield found
        if seen_BT is not None:
            width = found.logprobs.shape[1]
            trained_BT = part.loss_mask_BT[rows_B, :width] != 0
            seen_BT[rows_B, :width] = torch.where(trained_BT, found.logprobs.float().cpu(), seen_BT[rows_B, :width])
