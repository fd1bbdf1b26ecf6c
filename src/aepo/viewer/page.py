"""Builds the page: one HTML file with the trees as data and everything that draws them inside."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

from aepo.types import SUCCESS, Kind, Leaf, Node, Origin
from aepo.viewer.read import Record

CHARTS = (
    "eval/success",
    "reward/mean",
    "entropy/root",
    "entropy/after_tool",
    "branch/share",
    "branch/per_group",
    "rollout/executed_calls",
    "clip/high_fraction",
)
"""Metrics that get a chart, in this order; a run that logs none of them gets its first eight numbers instead."""


def export(
    records: Iterable[Record],
    path: str | PathLike[str],
    metrics: Sequence[Mapping[str, Any]] = (),
    title: str = "Rollout trees",
    note: str = "",
) -> Path:
    """Write one self-contained HTML file that shows `records`; it loads nothing from anywhere.

    Args:
        records: Questions with their trees, in the order of the list.
        path: The file to write.
        metrics: One mapping a step; see `CHARTS`.
        title: Shown on top, e.g. the run's name.
        note: One line under the title.

    Raises:
        ValueError: No records.
    """
    questions = [question(r) for r in records]
    if not questions:
        raise ValueError("no rollout trees to show")
    data = {"title": title, "note": note, "success": SUCCESS, "questions": questions, "charts": charts(metrics)}
    out = Path(path)
    # A lone surrogate, which a broken tokenizer may give, becomes \udcxx: inside JSON that is the same character.
    out.write_text(page(data), encoding="utf-8", errors="backslashreplace")
    return out


def page(data: Mapping[str, Any]) -> str:
    """The HTML text for what `static/page.js` draws."""
    static = files("aepo.viewer") / "static"
    text = (static / "page.html").read_text(encoding="utf-8")
    # In a script element only "<" can end it; as \u003c it is the same JSON.
    embedded = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts = {
        "TITLE": html.escape(str(data["title"])),
        "STYLE": (static / "page.css").read_text(encoding="utf-8"),
        "SCRIPT": (static / "page.js").read_text(encoding="utf-8"),
        "DATA": embedded,
    }
    before, *rest = text.split("{{")
    return before + "".join(parts[name] + after for name, after in (r.split("}}", 1) for r in rest))


def question(record: Record) -> dict[str, Any]:
    """What the page shows of one question: the numbers of the list, and the tree."""
    sample, tree = record.group.sample, record.group.tree
    begun = [leaf.origin for leaf in tree.leaves]
    rewards = [leaf.reward for leaf in tree.leaves if leaf.reward is not None]
    return {
        "step": record.step,
        "id": sample.id,
        "question": sample.question,
        "targets": [sample.target] if isinstance(sample.target, str) else list(sample.target),
        "m": begun.count(Origin.PROBE) + begun.count(Origin.GLOBAL),
        "branches": begun.count(Origin.BRANCH),
        "resampled": begun.count(Origin.RESAMPLED),
        "leftover": begun.count(Origin.LEFTOVER),
        "calls": sum(n.result is not None and n.result.executed for n in tree.nodes),
        "solved": sum(r >= SUCCESS for r in rewards),
        "reward": sum(rewards) / len(rewards) if rewards else None,
        "distinct": tree.distinct_tokens(),
        "flat": sum(len(n.tokens) for leaf in tree.leaves for n in tree.walk(leaf.node)),
        "nodes": [_node(n, t) for n, t in zip(tree.nodes, record.texts, strict=True)],
        "leaves": [_leaf(leaf) for leaf in tree.leaves],
    }


def charts(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The charts' lines: name, and (step, value) for each step that has a finite value."""
    seen = dict.fromkeys(key for row in metrics for key in row if key != "step")
    lines = []
    for key in [c for c in CHARTS if c in seen] or list(seen):
        points = [[row["step"], row[key]] for row in metrics if _is_number(row.get(key))]
        if len(points) > 1:
            lines.append({"name": key, "points": points})
    return lines[: len(CHARTS)]


def _node(node: Node, pieces: list[str]) -> dict[str, Any]:
    written = node.kind is Kind.POLICY
    return {
        "parent": node.parent,
        "kind": node.kind.value,
        "path": node.path,
        "size": len(node.tokens),
        "pieces": pieces if written else ["".join(pieces)],
        "entropies": [round(e, 3) for e in node.entropies],
        "call": node.call and {"name": node.call.name, "arguments": node.call.arguments, "error": node.call.error},
        "result": node.result and {"status": node.result.status.value, "seconds": round(node.result.seconds, 3)},
        "decision": node.decision and asdict(node.decision),
    }


def _leaf(leaf: Leaf) -> dict[str, Any]:
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
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _finite(value: Any) -> Any:
    """NaN and infinities as null, which is all that JSON in a browser knows."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
