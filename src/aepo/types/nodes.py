"""What a tree is made of: nodes of tokens, and leaves, where paths end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

from aepo.types.calls import ToolCall, ToolResult


class Kind(StrEnum):
    """Who wrote a node's tokens."""

    PROMPT = "prompt"
    POLICY = "policy"
    OBSERVATION = "observation"


class Origin(StrEnum):
    """Where and why a trajectory began."""

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


@dataclass(frozen=True)
class BranchDecision:
    """The decision after one observation.

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
        refused: Why branches that should begin after this node begin at the question instead, one reason for each.
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
    refused: tuple[str, ...] = ()

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


def turns_of(walk: Sequence[Node]) -> list[list[Node]]:
    """The policy's turns in a walk; each is one node, or the adjacent parts of a split turn."""
    return [list(nodes) for policy, nodes in groupby(walk, lambda n: n.kind is Kind.POLICY) if policy]
