"""Questions and what the policy did with them: trajectories, and the group of one question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aepo.types.calls import ToolCall, ToolResult
from aepo.types.nodes import Leaf, Origin, StopReason, turns_of
from aepo.types.tree import TrajectoryTree

SUCCESS = 1.0
"""A trajectory with at least this reward counts as solved."""


@dataclass(frozen=True)
class Sample:
    """One question.

    Attributes:
        question: The question's text.
        target: The right answer as text, or a list of accepted answers.
        id: Stable name inside its task; if empty, the task numbers it.
        metadata: Further JSON values by name; rewards and reports may read them.
        instruction: The text above the system text when it is asked; None is the one that the policy was trained under.
    """

    question: str
    target: str | list[str] = ""
    id: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    instruction: str | None = None


@dataclass(frozen=True)
class Example:
    """A solved question that a prompt shows before the real one.

    Attributes:
        question: The question.
        answer: The answer.
        calls: The tool calls that led to it, each with the text of its result, in order.
        thoughts: The thought before each call and before the answer, in order; may be fewer, or none.
    """

    question: str
    answer: str
    calls: Sequence[tuple[ToolCall, str]] = ()
    thoughts: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", tuple(self.calls))
        object.__setattr__(self, "thoughts", tuple(self.thoughts))


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

    @classmethod
    def written(
        cls,
        sample: Sample,
        answer: str | None = None,
        calls: Sequence[tuple[ToolCall, str]] = (),
        format_error: str | None = None,
        outcome: float | None = None,
        state: Any = None,
    ) -> Trajectory:
        """A trajectory without tokens, written by hand to test a reward.

        Args:
            sample: The question.
            answer: The text of the answer.
            calls: The tool calls, each with the text of its result, one a turn.
            format_error: The error in the format that ended it.
            outcome: The value of the environment's `get_reward`.
            state: The environment's `state`.

        Examples:
            >>> said = Trajectory.written(Sample("6 * 7?", "42"), "42", [(ToolCall("python", {"code": "6 * 7"}), "42")])
            >>> [(call.name, result.text) for call, result in said.calls]
            [('python', '42')]
        """
        reason = (
            StopReason.ANSWER if answer is not None else StopReason.END if format_error is None else StopReason.FORMAT
        )
        leaf = Leaf(0, 0, Origin.PROBE, reason, answer, format_error, outcome=outcome, state=state)
        turns = [Turn(0, 0, (), (call,), (ToolResult(text),)) for call, text in calls]
        return cls(sample, [], [], [], [], 0, [0], turns, leaf)

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
