"""Reads the trees and the engine's events that tests of the explorer look at, and checks what holds for every group."""

from __future__ import annotations

from aepo.core.exploration import Exploration
from aepo.core.scale import segment_entropy
from aepo.rollout.explorer import Seeds
from aepo.rollout.path import Limits
from aepo.types import BranchDecision, Group, Kind, Node, Origin, StopReason, TrajectoryTree
from tests.rollout.toy import ToyGenerator, key_of


def origins(tree: TrajectoryTree) -> list[Origin]:
    return [leaf.origin for leaf in tree.leaves]


def count(tree: TrajectoryTree, origin: Origin) -> int:
    return origins(tree).count(origin)


def own(tree: TrajectoryTree, path: int) -> list[Node]:
    """The nodes that a path added itself, the prompt not counted."""
    return [node for node in tree.nodes if node.path == path and node.id > 0]


def depth(tree: TrajectoryTree, node: int) -> int:
    """Observations of results up to `node`, itself included: its number i if it is one."""
    return sum(bool(n.results) for n in tree.walk(node))


def decided(tree: TrajectoryTree) -> dict[tuple[int, int], BranchDecision]:
    """By path and number of the observation."""
    return {(n.path, depth(tree, n.id)): n.decision for n in tree.nodes if n.decision is not None}


def branched(tree: TrajectoryTree) -> list[tuple[int | None, int]]:
    """Where branches started: parent and number of the observation, in the order of the paths."""
    return [(leaf.parent_path, leaf.depth) for leaf in tree.leaves if leaf.origin is Origin.BRANCH]


def window_entropy(node: Node, rules: Exploration) -> float:
    reference = rules.entropy_scale == "reference"
    entropies = [h / 2 for h in node.entropies] if reference else node.entropies
    return segment_entropy(entropies, rules.entropy_window, rules.entropy_scale)


def check_limits(group: Group, limits: Limits) -> None:
    """What a branch inherited counts, and the reason to stop is the true one."""
    for trajectory in group.trajectories():
        length = len(trajectory.tokens) - trajectory.prompt_length
        last = trajectory.turns[-1]
        assert length <= limits.max_tokens
        told = [turn for turn in trajectory.turns if turn.error is not None]
        assert len(trajectory.calls) + len(told) <= limits.max_tool_calls
        assert all(not turn.calls and turn.tokens for turn in told)
        assert all(len(turn.results) == len(turn.calls) for turn in trajectory.turns[:-1])
        assert all(turn.calls or turn in told for turn in trajectory.turns[:-1])
        assert last.error is None
        assert sum(trajectory.loss_mask) == sum(len(turn.tokens) for turn in trajectory.turns if turn not in told)
        assert trajectory.format_errors == len(told) + (trajectory.stop_reason is StopReason.FORMAT)
        assert not last.results or (
            trajectory.stop_reason is StopReason.LENGTH and len(last.results) == len(last.calls)
        )
        match trajectory.stop_reason:
            case StopReason.TOOL_LIMIT:
                assert len(trajectory.calls) + len(told) + len(last.calls) > limits.max_tool_calls
            case StopReason.LENGTH:
                assert length == limits.max_tokens or last.results
            case StopReason.ANSWER:
                assert trajectory.answer is not None
            case StopReason.FORMAT:
                assert trajectory.format_error is not None


def check_tokens(tree: TrajectoryTree, generator: ToyGenerator, seeds: Seeds, question: str) -> None:
    """Every path wrote what its own noise makes of the tokens that the tree shows before."""
    for node in tree.nodes:
        if node.kind is not Kind.POLICY:
            continue
        walk = tree.walk(node.id)
        starts = [sum(len(n.tokens) for n in walk[: at + 1]) for at, n in enumerate(walk) if n.kind is not Kind.POLICY]
        before = [token for n in walk[:-1] for token in n.tokens]
        key = key_of(node.path, question, seeds)
        assert node.tokens == generator.sampled_tokens(key, before, len(node.tokens), starts)


# When things happened.


def last_sample(generator: ToyGenerator, path: int) -> int:
    """Index of the event at which a path's last tokens were there."""
    return max(at for at, e in enumerate(generator.events) if e.what == "sampled" and e.key == key_of(path))


def starts(generator: ToyGenerator, path: int) -> int:
    (at,) = [at for at, e in enumerate(generator.events) if e.what in ("open", "fork") and e.key == key_of(path)]
    return at


def between(generator: ToyGenerator, paths: list[int]) -> set[str]:
    """What was asked of the engine from the start of the first of `paths` to that of the last."""
    at = [starts(generator, path) for path in paths]
    return {event.what for event in generator.events[min(at) : max(at) + 1]}
