"""Calls of paths that have ended: how uncertain they were, and where a path begins that makes one of them anew."""

from __future__ import annotations

from statistics import fmean

from aepo.rollout.chat.base import ChatProtocol
from aepo.types import Node, TrajectoryTree


def call_entropy(tree: TrajectoryTree, observation: Node, protocol: ChatProtocol) -> float:
    """Mean entropy of a call's own tokens, in nats: from its first one to the end of its turn.

    Args:
        tree: Of the path.
        observation: What the call gave.
        protocol: Tells where in its turn a call begins.
    """
    turn = _turn_before(tree, observation)
    entropies = [entropy for part in turn for entropy in part.entropies]
    return fmean(entropies[protocol.call_start(_tokens(turn)) :])


def before_call(tree: TrajectoryTree, observation: Node, protocol: ChatProtocol) -> tuple[Node, list[int]]:
    """The node after which a call begins, made by a split where there is none, and its turn's tokens up to there.

    Args:
        tree: Of the path; changed by the split only.
        observation: What the call gave.
        protocol: Tells where in its turn a call begins.
    """
    turn = _turn_before(tree, observation)
    kept = _tokens(turn)[: protocol.call_start(_tokens(turn))]
    assert turn[0].parent is not None
    before, left = tree.nodes[turn[0].parent], len(kept)
    for part in turn:
        if left < len(part.tokens):
            break
        before, left = part, left - len(part.tokens)
    return (tree.split(part.id, left) if left else before), kept


def _turn_before(tree: TrajectoryTree, observation: Node) -> list[Node]:
    assert observation.parent is not None
    return tree.turn(observation.parent)


def _tokens(turn: list[Node]) -> list[int]:
    return [token for part in turn for token in part.tokens]
