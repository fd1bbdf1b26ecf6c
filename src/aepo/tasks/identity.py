"""Hashes of a task's questions and tools, which a run keeps so that it is resumed with the same task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aepo.tasks.base import Task

_CALLED = {"samples": "question", "held_out": "held-out question", "tools": "tool"}
_DIGITS = 16


def identity(task: Task) -> dict[str, Any]:
    """Plain values: hashes of all questions by id, of all tools by name, and of the system message.

    A question's hash is of its text, target and metadata; a tool's hash is of the schema that the model is told.
    """
    parts = {
        "samples": {s.id: _hash([s.question, s.target, s.metadata]) for s in task.samples},
        "held_out": {s.id: _hash([s.question, s.target, s.metadata]) for s in task.held_out},
        "tools": {tool.name: _hash(tool.schema()) for tool in task.tools},
    }
    return {**parts, "system": _hash(task.system)}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first difference between two identities, in words; None if they are equal.

    Args:
        before: A result of `identity`; parts that an older version did not have are not compared.
        now: A result of `identity`.
    """
    for part, called in _CALLED.items():
        known, found = before.get(part), now[part]
        if known is None or list(known.items()) == list(found.items()):
            continue
        changed = [name for name in known.keys() & found.keys() if known[name] != found[name]]
        sets = ((changed, "has changed"), (known.keys() - found.keys(), "is gone"))
        for names, what in (*sets, (found.keys() - known.keys(), "is new")):
            if names:
                first = next(name for name in (*known, *found) if name in names)
                more = f", and {len(names) - 1} more like it" if len(names) > 1 else ""
                return f"{called} {first!r} {what}{more}"
        first = next(name for name, other in zip(found, known, strict=True) if name != other)
        return f"the order of the {called}s has changed, from {first!r} on,"
    return "the system message has changed" if before.get("system", now["system"]) != now["system"] else None


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]
