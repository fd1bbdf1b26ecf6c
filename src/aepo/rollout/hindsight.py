"""Computes the entropy of calls of ended paths, and finds the place where a path that samples them again begins."""

from __future__ import annotations

from math import exp
from statistics import fmean

from aepo.rollout.chat.base import ChatProtocol
from aepo.types import Node, TrajectoryTree


def call_entropy(tree: TrajectoryTree, observation: Node, protocol: ChatProtocol) -> float:
    """The mean entropy, in nats, of a turn's tokens from the first token of its first call to its end.

    Args:
        tree: The path's tree.
        observation: The observation after the turn.
        protocol: Finds where the calls begin in their turn.
    """
    turn = _turn_before(tree, observation)
    entropies = [entropy for part in turn for entropy in part.entropies]
    return fmean(entropies[protocol.call_start(_tokens(turn)) :])


def call_probability(tree: TrajectoryTree, observation: Node, protocol: ChatProtocol) -> float:
    """The mean probability, under the policy that sampled, of the same tokens; arguments as of `call_entropy`."""
    turn = _turn_before(tree, observation)
    logprobs = [logprob for part in turn for logprob in part.logprobs]
    return fmean(map(exp, logprobs[protocol.call_start(_tokens(turn)) :]))


def before_call(
    tree: TrajectoryTree, observation: Node, protocol: ChatProtocol, inside_call: bool = False
) -> tuple[Node, list[int]]:
    """The node after which a turn's calls begin, and the turn's tokens up to there; the node is split there if needed.

    Args:
        tree: The path's tree; only the split changes it.
        observation: The observation after the turn.
        protocol: Finds where the calls begin in their turn.
        inside_call: Whether the opening of the first call is kept, too. The turn's last token never is.
    """
    turn = _turn_before(tree, observation)
    tokens = _tokens(turn)
    cut = min(protocol.call_opened(tokens), len(tokens) - 1) if inside_call else protocol.call_start(tokens)
    kept = tokens[:cut]
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
