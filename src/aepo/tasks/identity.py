"""Hashes of a task's questions and tools, which a run keeps so that it is resumed with the same task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from aepo.tasks.base import Task
from aepo.tools.base import Tool
from aepo.types import Example, ToolCall

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
    shown = task.system if task.describe and not task.examples else [task.system, *told(task).values()]
    return {**parts, "system": _hash(shown)}


def reward_of(task: Task) -> str:
    """The name of a task's reward in its module, which tells most rewards apart."""
    return getattr(task.reward, "__qualname__", type(task.reward).__name__)


def told(task: Task) -> dict[str, Any]:
    """What the model is told besides tools and questions, as plain values; `Task` takes `of_told` of them."""
    return {"system": task.system, "describe": task.describe, "examples": [asdict(one) for one in task.examples]}


def of_told(values: Mapping[str, Any], tools: Sequence[Tool]) -> dict[str, Any]:
    """The arguments of `Task` for values of `told`; examples that call other tools than these are left out."""
    names = {tool.name for tool in tools}
    examples = [
        Example(
            one["question"],
            one["answer"],
            [(ToolCall(call["name"], call["arguments"]), text) for call, text in one["calls"]],
            one["thoughts"],
        )
        for one in values.get("examples", ())
    ]
    known = [one for one in examples if all(call.name in names for call, _ in one.calls)]
    return {"system": values.get("system"), "describe": values.get("describe", True), "examples": known}


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
