"""One question as plain values for the page: a digest for the list, and the whole tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import exp
from statistics import fmean, pstdev
from typing import Any

from aepo.runs.records import Record
from aepo.types import SUCCESS, Kind, Leaf, Node, Origin, StopReason, ToolCall, ToolResult, TrajectoryTree


def digest(record: Record, index: int) -> dict[str, Any]:
    """The values for the list of questions and its filters, and the outline of the tree.

    Args:
        record: The question.
        index: Its number in its section.
    """
    sample, tree = record.group.sample, record.group.tree
    origins = [leaf.origin for leaf in tree.leaves]
    rewards = [leaf.reward for leaf in tree.leaves if leaf.reward is not None]
    return {
        "index": index,
        "step": record.step,
        "id": sample.id,
        "environment": sample.metadata.get("environment"),
        "question": sample.question,
        "targets": [sample.target] if isinstance(sample.target, str) else list(sample.target),
        "m": origins.count(Origin.PROBE) + origins.count(Origin.GLOBAL),
        "gap": tree.gap,
        "origins": [origin.value for origin in origins],
        "branches": sum(origin in (Origin.BRANCH, Origin.RESAMPLED) for origin in origins),
        "rewards": [leaf.reward for leaf in tree.leaves],
        "reward": fmean(rewards) if rewards else None,
        "spread": pstdev(rewards) if rewards else None,
        "solved": sum(reward >= SUCCESS for reward in rewards),
        "calls": sum(result.executed for node in tree.nodes for result in node.results),
        "without_call": sum(not any(n.calls for n in tree.walk(leaf.node)) for leaf in tree.leaves),
        "format_errors": sum(leaf.format_error is not None for leaf in tree.leaves)
        + sum(node.error is not None for node in tree.nodes),
        "refused": sum(map(_refused, tree.nodes)),
        "lost": sum(leaf.stop_reason is StopReason.LOST for leaf in tree.leaves),
        "tool_errors": sum(not result.worked for node in tree.nodes for result in node.results),
        "distinct": tree.distinct_tokens(),
        "flat": sum(len(n.tokens) for leaf in tree.leaves for n in tree.walk(leaf.node)),
        "outline": outline(tree),
    }


def outline(tree: TrajectoryTree) -> list[list[Any]]:
    """For each path: [number, path it left or null, tokens after the prompt at its start, at its end, reward]."""
    lines = []
    for leaf in tree.leaves:
        walk = tree.walk(leaf.node)
        shared = sum(len(n.tokens) for n in walk if n.path != leaf.path and n.kind is not Kind.PROMPT)
        own = sum(len(n.tokens) for n in walk if n.path == leaf.path and n.kind is not Kind.PROMPT)
        lines.append([leaf.path, leaf.parent_path, shared, shared + own, leaf.reward])
    return lines


def whole(record: Record, index: int) -> dict[str, Any]:
    """The digest, and every node and leaf."""
    tree, update = record.group.tree, record.update
    ratios: Sequence[Any] = [None] * len(tree.nodes) if update is None else update.ratios
    advantages: Sequence[Any] = [None] * len(tree.leaves) if update is None else update.advantages
    return {
        **digest(record, index),
        "clip": None if update is None else [update.clip_low, update.clip_high],
        "nodes": [_node(n, t, r) for n, t, r in zip(tree.nodes, record.texts, ratios, strict=True)],
        "leaves": [_leaf(leaf, a) for leaf, a in zip(tree.leaves, advantages, strict=True)],
    }


def _node(node: Node, pieces: list[str], ratios: list[float | None] | None) -> dict[str, Any]:
    written = node.kind is Kind.POLICY
    return {
        "parent": node.parent,
        "kind": node.kind.value,
        "path": node.path,
        "size": len(node.tokens),
        "pieces": pieces if written else ["".join(pieces)],
        "entropies": [round(e, 3) for e in node.entropies],
        "probabilities": [round(exp(p), 4) for p in node.logprobs] if written and node.logprobs else None,
        "ratios": ratios if written else None,
        "calls": [_call(call) for call in node.calls],
        "results": [_result(result, own=len(node.results) == 1 and bool(node.tokens)) for result in node.results],
        "decision": node.decision and asdict(node.decision),
        "error": node.error,
        "state": node.state,
        "refused": list(node.refused),
    }


def _refused(node: Node) -> int:
    # Files of earlier versions have no reasons.
    return len(node.refused) or int(node.decision is not None and node.decision.stopped_by == "environment")


def _call(call: ToolCall) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments, "error": call.error}


def _result(result: ToolResult, own: bool) -> dict[str, Any]:
    told = {
        "status": result.status.value,
        "seconds": round(result.seconds, 3),
        "repeated": result.repeated,
        "cut": result.cut,
    }
    # The text of a single result is the node's own, unless the trajectory had ended and the policy did not read it.
    return told if own else {**told, "text": result.text}


def _leaf(leaf: Leaf, advantages: list[float] | None) -> dict[str, Any]:
    return {
        "path": leaf.path,
        "node": leaf.node,
        "origin": leaf.origin.value,
        "stop": leaf.stop_reason.value,
        "answer": leaf.answer,
        "error": leaf.format_error,
        "parent": leaf.parent_path,
        "root": leaf.root_entropy,
        "reward": leaf.reward,
        "outcome": leaf.outcome,
        "state": leaf.state,
        "advantages": advantages,
    }
