"""Gives the advantage and the importance ratio of each token of a group in an update, for the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aepo.runs.updates import TokenUpdates
from aepo.types import Group, Kind

if TYPE_CHECKING:
    from torch import Tensor

    from aepo.algorithms.base import Algorithm
    from aepo.training.batch import Batch


def token_updates(groups: Sequence[Group], batch: Batch, seen_BT: Tensor, algorithm: Algorithm) -> list[TokenUpdates]:
    """The token updates of each group.

    Args:
        groups: The groups of the batch, in its order.
        batch: The trained batch.
        seen_BT: The tensor that `update` has filled; NaN for tokens that were not computed.
        algorithm: Gives the clip range.
    """
    ratios_BT = (seen_BT - batch.old_logprobs_BT).clamp(-20, 20).exp()
    row = 0
    found: list[TokenUpdates] = []
    for group in groups:
        advantages: list[list[float]] = []
        ratios: list[list[float | None]] = [[] for _ in group.tree.nodes]
        for leaf in group.tree.leaves:
            trained_T = batch.loss_mask_BT[row] != 0
            advantages.append(batch.advantages_BT[row][trained_T].tolist())
            end = 0
            for node in group.tree.walk(leaf.node):
                start, end = end, end + len(node.tokens)
                if node.kind is Kind.POLICY and not ratios[node.id]:
                    values = ratios_BT[row, start:end].tolist()
                    ratios[node.id] = [None if value != value else value for value in values]
            row += 1
        for node, values in zip(group.tree.nodes, ratios, strict=True):
            if node.kind is Kind.POLICY and not values:
                values.extend([None] * len(node.tokens))
        found.append(TokenUpdates(algorithm.clip_low, algorithm.clip_high, advantages, ratios))
    return found
