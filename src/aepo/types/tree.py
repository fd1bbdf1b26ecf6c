"""The tree of all trajectories of one question, and its form as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aepo.types.calls import ToolCall, ToolResult, ToolStatus
from aepo.types.nodes import BranchDecision, Kind, Leaf, Node, Origin, StopReason, turns_of

TREE_FORMAT = 2
_READ_FORMATS = (1, TREE_FORMAT)
LEFT_OUT = ("outcome", "state", "refused")
"""Fields of nodes and leaves that are written only if they are set: versions without environments refuse them."""


@dataclass
class TrajectoryTree:
    """All trajectories of one question, each token stored once.

    Node 0 is the prompt. A child comes after its parent in `nodes`, except between `split` and `in_path_order`.

    Attributes:
        nodes: The nodes.
        leaves: The ends of the paths.
        gap: H_root - mean H_tool in nats, averaged over the probes; None without probes.
        global_samples: m, the number of global samples that the budget rule gave.
    """

    nodes: list[Node] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    gap: float | None = None
    global_samples: int = 0

    def add(self, parent: int | None, kind: Kind, tokens: Sequence[int], path: int) -> Node:
        """Append a node after `parent`."""
        node = Node(len(self.nodes), parent, kind, list(tokens), path)
        self.nodes.append(node)
        return node

    def walk(self, node: int) -> list[Node]:
        """The nodes from the prompt to `node`, in order."""
        path: list[Node] = []
        at: int | None = node
        while at is not None:
            path.append(self.nodes[at])
            at = self.nodes[at].parent
        return path[::-1]

    def turn(self, node: int) -> list[Node]:
        """The policy nodes of a turn up to `node`, in order: the parts split off before it, and itself."""
        return turns_of(self.walk(node))[-1]

    def split(self, node: int, length: int) -> Node:
        """Cut a policy node in two and return the earlier part, so that another path can begin after it.

        The earlier part is a new node. The later part keeps number and calls, so leaves and children stay valid.

        Raises:
            ValueError: The node is not the policy's, or one of the parts would be empty.
        """
        late = self.nodes[node]
        if late.kind is not Kind.POLICY or not 0 < length < len(late.tokens):
            raise ValueError(f"cannot split {late.kind} node {node} of {len(late.tokens)} tokens after {length} tokens")
        early = self.add(late.parent, Kind.POLICY, late.tokens[:length], late.path)
        early.logprobs, early.entropies = late.logprobs[:length], late.entropies[:length]
        early.version, early.error = late.version, late.error
        late.parent, late.tokens = early.id, late.tokens[length:]
        late.logprobs, late.entropies = late.logprobs[length:], late.entropies[length:]
        return early

    def in_path_order(self) -> TrajectoryTree:
        """The same tree, with nodes and leaves numbered path by path in the order of their walks."""
        order = sorted(self.nodes, key=lambda n: (n.path, len(self.walk(n.id))))
        number = {node.id: i for i, node in enumerate(order)}
        nodes = [replace(n, id=number[n.id], parent=None if n.parent is None else number[n.parent]) for n in order]
        leaves = [replace(leaf, node=number[leaf.node]) for leaf in sorted(self.leaves, key=lambda leaf: leaf.path)]
        return TrajectoryTree(nodes, leaves, self.gap, self.global_samples)

    def distinct_tokens(self) -> int:
        """Number of stored tokens."""
        return sum(len(n.tokens) for n in self.nodes)

    def to_json(self) -> str:
        """Lossless: `from_json(to_json())` is equal."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict(to_dict())` is equal."""
        return {"format": TREE_FORMAT, **asdict(self, dict_factory=_written)}

    @classmethod
    def from_json(cls, text: str) -> TrajectoryTree:
        """Read what `to_json` wrote, in this version or an earlier one.

        Raises:
            ValueError: The text is of another format version.
        """
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrajectoryTree:
        """Rebuild from the form of `to_dict`; a node of format 1 has at most one `call` and `result`.

        Raises:
            ValueError: The data is of another format version.
        """
        if data.get("format") not in _READ_FORMATS:
            known = " and ".join(map(str, _READ_FORMATS))
            raise ValueError(f"trajectory tree of format {data.get('format')!r}, this version reads {known}")
        nodes, leaves = [_node(n) for n in data["nodes"]], [_leaf(leaf) for leaf in data["leaves"]]
        return cls(nodes, leaves, data["gap"], data["global_samples"])


def _written(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value not in (None, ()) or name not in LEFT_OUT}


def _node(data: Mapping[str, Any]) -> Node:
    fields = dict(data)
    fields["kind"] = Kind(fields["kind"])
    if "call" in fields:
        call, result = fields.pop("call"), fields.pop("result")
        fields["calls"], fields["results"] = [call] * (call is not None), [result] * (result is not None)
    fields["calls"] = tuple(ToolCall(**call) for call in fields["calls"])
    fields["results"] = tuple(_result(result) for result in fields["results"])
    fields["refused"] = tuple(fields.get("refused", ()))
    if fields["decision"] is not None:
        fields["decision"] = BranchDecision(**fields["decision"])
    return Node(**fields)


def _result(data: Mapping[str, Any]) -> ToolResult:
    return ToolResult(**{**data, "status": ToolStatus(data["status"])})


def _leaf(data: Mapping[str, Any]) -> Leaf:
    fields = dict(data)
    fields["origin"] = Origin(fields["origin"])
    fields["stop_reason"] = StopReason(fields["stop_reason"])
    return Leaf(**fields)
