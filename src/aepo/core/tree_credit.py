"""Leaf weights and credit on a tree: how much a trajectory counts, and what its tokens are compared with.

A branch point is a node, other than the prompt, with several children: the paths that go on after it, and the paths
that end in it. Trajectories below it share the tokens before it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from aepo.core.advantages import EPSILON

LeafWeights: TypeAlias = Literal["equal", "path"]
Credit: TypeAlias = Literal["group", "sibling", "mixed"]

_SHARE_OF_SIBLINGS: dict[str, float] = {"group": 0.0, "sibling": 1.0, "mixed": 0.5}


def path_weights(nodes: Tensor) -> Tensor:
    """The chance that a walk from the prompt ends in a leaf, if it takes each child of a branch point alike.

    w_i = product over the branch points on i's way of 1 / children

    The weights of all trajectories that start from one place at the prompt add up to 1. So a place with many branches
    counts as much as one without.

    Args:
        nodes: (B, T), integers, the token's node in the tree; -1 on padding. The tokens of a node are adjacent. The
            first node of a row is its prompt. Groups must be whole, in any order.

    Returns:
        (B,), float64 where the device has it; each above 0 and at most 1.

    Raises:
        ValueError: `nodes` is not (B, T).
    """
    walks = _walks(nodes)
    return torch.tensor(_path_weights(walks, _children(walks)), dtype=_wide(nodes.device), device=nodes.device)


def tree_relative(
    rewards: Tensor,
    groups: Tensor,
    nodes: Tensor,
    leaf_weights: LeafWeights = "equal",
    credit: Credit = "group",
    standardized: bool = True,
) -> Tensor:
    """Advantages with leaf weights and baselines of the tree.

    A_it = (k w_i / sum_group w) (R_i - b_it) / (std + 1e-6)

    | leaf_weights | w_i |
    |---|---|
    | equal | 1 |
    | path | as in `path_weights` |

    | credit | b_it |
    |---|---|
    | group | mean of the group, weighted by w |
    | sibling | weighted mean of the leaves below the last branch point before the token; without one, of the group |
    | mixed | half of each |

    std^2 = k / (k - 1) (sum w (R - mean)^2) / sum w. With `equal` and `group` this is `group_relative`. A group of
    equal rewards, or of one trajectory, gives exactly 0. Baselines contain the trajectory's own reward. Below a branch
    point with c children, `sibling` therefore makes the expected gradient of a token 1 - 1/c times as large.

    Args:
        rewards: (B,), one per trajectory.
        groups: (B,), integers, equal for trajectories of one question. Groups must be whole, in any order.
        nodes: (B, T), as of `path_weights`; no node is in two groups.
        leaf_weights: How much each trajectory counts.
        credit: What a reward is compared with.
        standardized: Whether to divide by std + 1e-6.

    Returns:
        (B, T), without gradient, zero where `nodes` is -1, in the rewards' dtype (float32 for integers).

    Raises:
        ValueError: The shapes do not fit, or a word is unknown.
    """
    if rewards.ndim != 1 or rewards.shape != groups.shape or nodes.ndim != 2 or len(nodes) != len(rewards):
        raise ValueError(
            f"rewards {tuple(rewards.shape)} and groups {tuple(groups.shape)} must be (B,), nodes "
            f"{tuple(nodes.shape)} (B, T)"
        )
    if leaf_weights not in get_args(LeafWeights) or credit not in get_args(Credit):
        raise ValueError(f"unknown leaf_weights {leaf_weights!r} or credit {credit!r}")
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    advantages = torch.zeros(nodes.shape, dtype=dtype, device=nodes.device)
    walks, values = _walks(nodes), [float(reward) for reward in rewards.detach().tolist()]
    children = _children(walks)
    weights = _path_weights(walks, children) if leaf_weights == "path" else [1.0] * len(walks)
    for group in torch.unique(groups):
        rows = (groups == group).nonzero()[:, 0].tolist()
        if len({values[row] for row in rows}) > 1:
            unit = _spread(rows, weights, values) + EPSILON if standardized else 1.0
            for row, by_node in _of_group(rows, walks, children, weights, values, _SHARE_OF_SIBLINGS[credit]).items():
                _write(advantages[row], nodes[row], {node: value / unit for node, value in by_node.items()})
    return advantages


def _spread(rows: Sequence[int], weights: Sequence[float], rewards: Sequence[float]) -> float:
    """The std of a group's rewards, with weights."""
    total = sum(weights[row] for row in rows)
    mean = sum(weights[row] * rewards[row] for row in rows) / total
    square = sum(weights[row] * (rewards[row] - mean) ** 2 for row in rows) / total
    return math.sqrt(square * len(rows) / (len(rows) - 1))


def _of_group(
    rows: Sequence[int],
    walks: Sequence[Sequence[int]],
    children: dict[int, set[int]],
    weights: Sequence[float],
    rewards: Sequence[float],
    siblings: float,
) -> dict[int, dict[int, float]]:
    """The advantage at each node of each row of one group, before the division by std."""
    total = sum(weights[row] for row in rows)
    mean = sum(weights[row] * rewards[row] for row in rows) / total
    below: dict[int, float] = defaultdict(float)
    weight_below: dict[int, float] = defaultdict(float)
    for row in rows:
        for node in walks[row]:
            below[node] += weights[row] * rewards[row]
            weight_below[node] += weights[row]
    found: dict[int, dict[int, float]] = {}
    for row in rows:
        factor, baseline = len(rows) * weights[row] / total, mean
        found[row] = {}
        for depth, node in enumerate(walks[row]):
            found[row][node] = factor * (rewards[row] - (1.0 - siblings) * mean - siblings * baseline)
            if depth and len(children[node]) > 1:
                baseline = below[node] / weight_below[node]
    return found


def _walks(nodes: Tensor) -> list[list[int]]:
    """The nodes of each row, in order; nodes without tokens are not seen."""
    if nodes.ndim != 2:
        raise ValueError(f"nodes {tuple(nodes.shape)} must be (B, T)")
    return [[node for node in torch.unique_consecutive(row).tolist() if node >= 0] for row in nodes]


def _children(walks: Sequence[Sequence[int]]) -> dict[int, set[int]]:
    """What follows each node; the end of a row is a child of its own, -1 - row."""
    children: dict[int, set[int]] = defaultdict(set)
    for row, walk in enumerate(walks):
        for node, following in zip(walk, [*walk[1:], -1 - row], strict=True):
            children[node].add(following)
    return children


def _path_weights(walks: Sequence[Sequence[int]], children: dict[int, set[int]]) -> list[float]:
    weights = [1.0] * len(walks)
    for row, walk in enumerate(walks):
        for node in walk[1:]:
            weights[row] /= len(children[node])
    return weights


def _write(advantages: Tensor, nodes: Tensor, by_node: dict[int, float]) -> None:
    """Write the advantage of each node of one row to its tokens."""
    names, index = torch.unique(nodes, return_inverse=True)
    values = [by_node.get(name, 0.0) for name in names.tolist()]
    advantages.copy_(torch.tensor(values, dtype=advantages.dtype, device=advantages.device)[index])


def _wide(device: torch.device) -> torch.dtype:
    # Apple's GPUs have no float64.
    return torch.float32 if device.type == "mps" else torch.float64
