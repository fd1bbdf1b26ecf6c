"""The types that all parts share: samples, calls, trees of tokens, trajectories, groups.

They do not import torch. A rollout is stored as a tree: each token once, on the node that added it. A trajectory is
the walk from the root of the tree to a leaf. All other parts import these names from here.
"""

from aepo.types.calls import ToolCall, ToolError, ToolResult, ToolStatus
from aepo.types.groups import SUCCESS, Example, Group, Sample, Trajectory, Turn, flatten
from aepo.types.nodes import BranchDecision, Kind, Leaf, Node, Origin, StopReason, turns_of
from aepo.types.tree import LEFT_OUT, TREE_FORMAT, TrajectoryTree

__all__ = [
    "LEFT_OUT",
    "SUCCESS",
    "TREE_FORMAT",
    "BranchDecision",
    "Example",
    "Group",
    "Kind",
    "Leaf",
    "Node",
    "Origin",
    "Sample",
    "StopReason",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "ToolStatus",
    "Trajectory",
    "TrajectoryTree",
    "Turn",
    "flatten",
    "turns_of",
]
