"""Measures how different the tool calls of a group's trajectories are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import fsum

from aepo.types import Group, Leaf

CLUSTER_DISTANCE = 0.5
"""Largest Jaccard distance that links two trajectories."""


def diversity_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Means over the groups that have trajectories.

    `group/distinct_queries` is the number of distinct sequences of tool calls in a group, the empty one included,
    divided by its trajectories. `group/clusters` is the number of clusters, see `clusters`.
    """
    asked = [[_calls(group, leaf) for leaf in group.tree.leaves] for group in groups if group.tree.leaves]
    if not asked:
        return {}
    return {
        "group/distinct_queries": fsum(len(set(sequences)) / len(sequences) for sequences in asked) / len(asked),
        "group/clusters": sum(clusters([frozenset(s) for s in sequences]) for sequences in asked) / len(asked),
    }


def clusters(sets: Sequence[frozenset[str]]) -> int:
    """Number of clusters by single linkage: sets with a Jaccard distance of at most `CLUSTER_DISTANCE` are linked.

    The distance is 1 - |a & b| / |a | b|, and 0 between two empty sets. A chain of links is one cluster.
    """
    left = set(range(len(sets)))
    found = 0
    while left:
        found += 1
        reached = [left.pop()]
        while reached:
            at = reached.pop()
            near = {other for other in left if _distance(sets[at], sets[other]) <= CLUSTER_DISTANCE}
            left -= near
            reached += near
    return found


def _distance(a: frozenset[str], b: frozenset[str]) -> float:
    return 1.0 - len(a & b) / len(a | b) if a or b else 0.0


def _calls(group: Group, leaf: Leaf) -> tuple[str, ...]:
    """The calls of a trajectory, each as one text with name and arguments."""
    return tuple(
        json.dumps([call.name, call.arguments], sort_keys=True, default=str)
        for node in group.tree.walk(leaf.node)
        for call in node.calls
    )
