"""AXPO's separated advantages: the thinking before a call, and the calls that were sampled again, are judged apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aepo.core.advantages import group_relative
from aepo.types import SUCCESS


def separated(
    rewards: Tensor, groups: Tensor, nodes: Tensor, loss_mask: Tensor, success: float = SUCCESS
) -> tuple[Tensor, Tensor]:
    """Advantages of groups in which calls were sampled again, and the mask of the tokens that they train (AXPO).

    A family is a source and the K continuations that begin inside it. In a group, k - K trajectories start from the
    question, among them the sources.

    | tokens | advantage |
    |---|---|
    | of a start that is no source | group_relative of the k - K rewards |
    | of a source, before its continuations begin | the same, the source's reward replaced by its recovery |
    | of a source, after that | none: mask 0 |
    | of a continuation, before it begins | none: mask 0 |
    | of a continuation, after that | group_relative of the K rewards |

    A source's recovery is 1 if one of its continuations succeeded, else 0.

    Source: notes on arXiv 2605.28774. That other starts keep the z-score of the real rewards is ours; the paper's text
    was not to be had.

    Args:
        rewards: (B,), one per trajectory.
        groups: (B,), integers, equal for trajectories of one question. Groups must be whole; a source comes before its
            continuations, as in a tree's leaves. Other branches than continuations are not expected.
        nodes: (B, T), integers, the token's node in the tree, -1 on padding; the first node of a row is its prompt.
        loss_mask: (B, T), 1 where the token is trained.
        success: Smallest reward of a success.

    Returns:
        Advantages and mask, both (B, T), without gradient.

    Raises:
        ValueError: The shapes do not fit.
    """
    if not rewards.shape == groups.shape == nodes.shape[:1] or nodes.ndim != 2 or nodes.shape != loss_mask.shape:
        raise ValueError(
            f"rewards {tuple(rewards.shape)} and groups {tuple(groups.shape)} must be (B,), nodes "
            f"{tuple(nodes.shape)} and loss_mask {tuple(loss_mask.shape)} (B, T)"
        )
    advantages = torch.zeros(nodes.shape, dtype=rewards.dtype if rewards.is_floating_point() else torch.float32)
    mask = (loss_mask != 0).clone()
    for group in torch.unique(groups):
        rows = (groups == group).nonzero()[:, 0].tolist()
        sources = _sources(rows, nodes)
        starts = [row for row in rows if row not in sources]
        for row, value in zip(starts, _z(rewards[starts]), strict=True):
            advantages[row] = value
        for source in set(sources.values()):
            family = [row for row, its_source in sources.items() if its_source == source]
            shared = torch.stack([_shared(nodes[source], nodes[row]) for row in family]).any(0)
            replaced = rewards[starts]
            replaced[starts.index(source)] = float(bool((rewards[family] >= success).any()))
            advantages[source] = _z(replaced)[starts.index(source)]
            mask[source] &= shared
            for row, value in zip(family, _z(rewards[family]), strict=True):
                advantages[row] = value
                mask[row] &= ~_shared(nodes[row], nodes[source])
    return advantages * mask, mask


def _sources(rows: Sequence[int], nodes: Tensor) -> dict[int, int]:
    """The source of each continuation: the earliest row with which it shares a node besides the prompt."""
    of: dict[int, int] = {}
    first: dict[int, int] = {}
    for row in rows:
        own = [node for node in torch.unique(nodes[row]).tolist() if node >= 0 and node != int(nodes[row, 0])]
        found = [first[node] for node in own if node in first]
        if found:
            of[row] = of.get(min(found), min(found))
        for node in own:
            first.setdefault(node, row)
    return of


def _shared(one: Tensor, other: Tensor) -> Tensor:
    """(T,): where a row's node is in the other row too."""
    return torch.isin(one, other[other >= 0])


def _z(rewards: Tensor) -> Tensor:
    return group_relative(rewards, torch.zeros(len(rewards), dtype=torch.long))
