"""The types that all parts share: samples, calls, trees of tokens, trajectories, groups.

This module does not import torch. A rollout is stored as a tree: each token once, on the node that added it. A
trajectory is the walk from the root of the tree to a leaf.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from typing import Any

TREE_FORMAT = 2
_READ_FORMATS = (1, TREE_FORMAT)
LEFT_OUT = ("outcome", "state")
"""Fields of nodes and leaves that are written only if they are set: versions without environments refuse them."""

SUCCESS = 1.0
"""A trajectory with at least this reward counts as solved."""


class ToolError(Exception):
    """An error that the model may see and react to: a bad argument, nothing found, a service that is down.

    The model sees no other exception; any other one that a tool raises is a bug in the tool.
    """


class StopReason(StrEnum):
    """Why a trajectory ended."""

    ANSWER = "answer"
    """The policy gave its answer."""
    END = "end"
    """The policy ended its text without an answer."""
    FORMAT = "format"
    """The policy broke the protocol, e.g. wrote a tool result itself."""
    LENGTH = "length"
    """The limit on tokens was reached."""
    TIME = "time"
    """The limit on seconds was reached."""
    TOOL_LIMIT = "tool_limit"
    """The policy asked for more tool calls than were left; none of that turn was run."""
    DONE = "done"
    """The environment said that nothing more can be done."""
    LOST = "lost"
    """The environment died, or a call left it in a state that nobody knows."""


class Kind(StrEnum):
    """Who wrote a node's tokens."""

    PROMPT = "prompt"
    POLICY = "policy"
    OBSERVATION = "observation"


class Origin(StrEnum):
    """Where and why a trajectory began (spec 3)."""

    PROBE = "probe"
    """At the question; its entropies decide m."""
    GLOBAL = "global"
    """At the question."""
    BRANCH = "branch"
    """At an observation of another path, right after it."""
    RESAMPLED = "resampled"
    """At a tool call of an ended path: the thinking before the call is kept, the call is sampled again."""
    LEFTOVER = "leftover"
    """At the question, in a slot that no branch used."""


@dataclass(frozen=True)
class Sample:
    """One question.

    Attributes:
        question: The question's text.
        target: The right answer as text, or a list of accepted answers.
        id: Stable name inside its task; if empty, the task numbers it.
        metadata: Further JSON values by name; rewards and reports may read them.
    """

    question: str
    target: str | list[str] = ""
    id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolCall:
    """A tool call of the policy.

    Attributes:
        name: The tool.
        arguments: By parameter name.
        error: Why the call cannot be run (unknown tool, arguments that do not parse); the model is told this.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class ToolStatus(StrEnum):
    """How a tool call ended."""

    OK = "ok"
    ERROR = "error"
    """The tool raised `ToolError`."""
    BAD_ARGUMENTS = "bad_arguments"
    """Unknown tool, or arguments that do not fit its signature; the tool was not called."""
    TIMEOUT = "timeout"
    BUG = "bug"
    """The tool raised another exception, and the run goes on (`on_tool_bug: tell`)."""
    DONE = "done"
    """The call worked, and the environment said that nothing more can be done."""
    LOST = "lost"
    """The environment died, and could not be brought back."""


@dataclass(frozen=True)
class ToolResult:
    """The result of a tool call.

    Attributes:
        text: The text that the model reads.
        status: How the call ended.
        seconds: Duration of the call.
        repeated: Whether this is the earlier result of an equal call in the trajectory.
        cut: Whether the text was cut so that it fits into the trajectory's tokens.
    """

    text: str
    status: ToolStatus = ToolStatus.OK
    seconds: float = field(default=0.0, compare=False)
    repeated: bool = False
    cut: bool = False

    @property
    def worked(self) -> bool:
        """Whether the call did what was asked."""
        return self.status in (ToolStatus.OK, ToolStatus.DONE)

    @property
    def executed(self) -> bool:
        """Whether the tool was called: the arguments fitted, and no earlier result was reused."""
        return self.status is not ToolStatus.BAD_ARGUMENTS and not self.repeated


@dataclass(frozen=True)
class BranchDecision:
    """The decision after one observation (spec 3.2).

    Attributes:
        entropy: H_t, segment entropy after the observation.
        delta: scale(H_t - h_init).
        consecutive: l, the path's observations in a row before this one that count.
        probability: P.
        branches: Number of new paths that started here.
        stopped_by: Why the path did not branch: "threshold", "penalty", "pacing", "budget", or "environment" if its
            world could not be made a second time; None if it branched.
    """

    entropy: float
    delta: float
    consecutive: int
    probability: float
    branches: int = 0
    stopped_by: str | None = None


@dataclass
class Node:
    """A run of tokens on one path from one source: a prompt, an observation, a turn, or a part of a split turn.

    Attributes:
        id: Index in `TrajectoryTree.nodes`.
        parent: Index of the node before it; None for the prompt.
        kind: Source of the tokens.
        tokens: Ids, as sampled or as encoded once.
        path: The path that added it; paths that branched later share it.
        logprobs: ln p of each sampled token at the sampling temperature; empty unless `kind` is policy and the engine
            gives them.
        entropies: Entropy of the next-token distribution at the sampling temperature, in nats, as the engine estimates
            it; empty as `logprobs` is.
        calls: The tool calls that end a policy node; the last part of a split turn has them.
        results: The results that an observation node shows, one for each call of the turn before it, in their order.
        decision: On observation nodes, the branch decision.
        version: On policy nodes, the version of the weights that gave its last token; None if they are not counted.
        error: On policy nodes, how the turn broke the protocol, if the model was told and went on; else None.
        state: On observation nodes, the environment's `state` after the calls, as JSON values; None if it is not kept.
    """

    id: int
    parent: int | None
    kind: Kind
    tokens: list[int]
    path: int
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    decision: BranchDecision | None = None
    version: int | None = None
    error: str | None = None
    state: Any = None

    @property
    def trained(self) -> bool:
        """Whether its tokens are trained: the policy wrote them, and they are of no turn that broke the protocol."""
        return self.kind is Kind.POLICY and self.error is None


@dataclass
class Leaf:
    """The end of one path.

    Attributes:
        path: Number of the path inside its tree; 0 is the first probe.
        node: Its last node.
        origin: Where and why the path began.
        stop_reason: Why it ended.
        answer: The answer's text, None without one.
        format_error: The error in the format that ended it, None without one.
        parent_path: The path in which it began; None if it began at the question.
        depth: Number of inherited observations.
        root_entropy: h_init, the segment entropy after the question; inherited if the path began in another one.
        reward: The reward; None until it is scored.
        outcome: The value of the environment's `get_reward` at the end, 0 if it was lost; None without one.
        state: The environment's `state` at the end, as JSON values; None without one.
    """

    path: int
    node: int
    origin: Origin
    stop_reason: StopReason
    answer: str | None = None
    format_error: str | None = None
    parent_path: int | None = None
    depth: int = 0
    root_entropy: float = 0.0
    reward: float | None = None
    outcome: float | None = None
    state: Any = None


@dataclass(frozen=True)
class Turn:
    """One turn of the policy and the results of its calls.

    Attributes:
        node: The policy node, the last one of a split turn.
        start: Place of its first token in the trajectory.
        tokens: The turn's ids.
        calls: The tool calls that ended it.
        results: One result for each call; empty if they were not run.
        error: How it broke the protocol, if the model was told and went on; else None.
    """

    node: int
    start: int
    tokens: Sequence[int]
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Trajectory:
    """A root-to-leaf walk as flat lists, for rewards and trainers.

    Attributes:
        sample: The question.
        tokens: Prompt, policy tokens and observations, in order.
        loss_mask: 1 where the policy wrote the token, but 0 in turns that broke the protocol and did not end it.
        logprobs: ln p under the policy that sampled; 0 where `loss_mask` is 0 or the engine gave none.
        entropies: Nats; 0 where `loss_mask` is 0 or the engine gave none.
        prompt_length: Tokens of the prompt.
        nodes: The nodes of the walk.
        turns: Policy turns with their calls and results.
        leaf: The end of the path.
    """

    sample: Sample
    tokens: list[int]
    loss_mask: list[int]
    logprobs: list[float]
    entropies: list[float]
    prompt_length: int
    nodes: list[int]
    turns: list[Turn]
    leaf: Leaf

    @property
    def answer(self) -> str | None:
        """The answer's text, None without one."""
        return self.leaf.answer

    @property
    def stop_reason(self) -> StopReason:
        """Why it ended."""
        return self.leaf.stop_reason

    @property
    def format_error(self) -> str | None:
        """The error in the format that ended it, None without one."""
        return self.leaf.format_error

    @property
    def format_errors(self) -> int:
        """Number of turns that broke the protocol, the one that ended it included."""
        return sum(turn.error is not None for turn in self.turns) + (self.leaf.format_error is not None)

    @property
    def reward(self) -> float | None:
        """The reward; None until it is scored."""
        return self.leaf.reward

    @property
    def outcome(self) -> float | None:
        """The value of the environment's `get_reward` at the end; None without one."""
        return self.leaf.outcome

    @property
    def state(self) -> Any:
        """The environment's `state` at the end, as JSON values; None without one."""
        return self.leaf.state

    @property
    def calls(self) -> list[tuple[ToolCall, ToolResult]]:
        """All tool calls that have results, with them, in order, inherited ones included."""
        # Calls that were refused by the limit have no results.
        return [pair for turn in self.turns for pair in zip(turn.calls, turn.results, strict=False)]


@dataclass
class TrajectoryTree:
    """All trajectories of one question, each token stored once.

    Node 0 is the prompt. A child comes after its parent in `nodes`, except between `split` and `in_path_order`.

    Attributes:
        nodes: The nodes.
        leaves: The ends of the paths.
        gap: H_root - mean H_tool in nats, averaged over the probes (spec 3.1); None without probes.
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


@dataclass
class Group:
    """One question and its k trajectories; rewards are compared inside it."""

    sample: Sample
    tree: TrajectoryTree

    def trajectories(self) -> Iterator[Trajectory]:
        """The leaves' walks, in the order of `tree.leaves`."""
        for leaf in self.tree.leaves:
            yield flatten(self.sample, self.tree, leaf)

    @property
    def rewards(self) -> list[float]:
        """One reward per leaf.

        Raises:
            ValueError: A leaf is not scored.
        """
        rewards = [leaf.reward for leaf in self.tree.leaves if leaf.reward is not None]
        if len(rewards) != len(self.tree.leaves):
            raise ValueError(f"sample {self.sample.id!r}: {len(self.tree.leaves) - len(rewards)} leaves have no reward")
        return rewards


def turns_of(walk: Sequence[Node]) -> list[list[Node]]:
    """The policy's turns in a walk; each is one node, or the adjacent parts of a split turn."""
    return [list(nodes) for policy, nodes in groupby(walk, lambda n: n.kind is Kind.POLICY) if policy]


def flatten(sample: Sample, tree: TrajectoryTree, leaf: Leaf) -> Trajectory:
    """The walk to `leaf` as one flat trajectory."""
    nodes = tree.walk(leaf.node)
    tokens: list[int] = []
    mask: list[int] = []
    logprobs: list[float] = []
    entropies: list[float] = []
    starts: dict[int, int] = {}
    for node in nodes:
        size = len(node.tokens)
        starts[node.id] = len(tokens)
        tokens += node.tokens
        mask += [int(node.trained)] * size
        logprobs += node.logprobs if node.trained and node.logprobs else [0.0] * size
        entropies += node.entropies if node.trained and node.entropies else [0.0] * size
    results = {node.parent: node.results for node in nodes}
    turns: list[Turn] = []
    for parts in turns_of(nodes):
        written, last = [token for part in parts for token in part.tokens], parts[-1]
        turns.append(Turn(last.id, starts[parts[0].id], written, last.calls, results.get(last.id, ()), last.error))
    return Trajectory(
        sample, tokens, mask, logprobs, entropies, len(nodes[0].tokens), [n.id for n in nodes], turns, leaf
    )


def _written(fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None or name not in LEFT_OUT}


def _node(data: Mapping[str, Any]) -> Node:
    fields = dict(data)
    fields["kind"] = Kind(fields["kind"])
    if "call" in fields:
        call, result = fields.pop("call"), fields.pop("result")
        fields["calls"], fields["results"] = [call] * (call is not None), [result] * (result is not None)
    fields["calls"] = tuple(ToolCall(**call) for call in fields["calls"])
    fields["results"] = tuple(_result(result) for result in fields["results"])
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
