"""Tool calls as a list of Python calls, as LFM2 writes them, or without tags, as some of Llama's models do.

    [search(query="author of Emma"), python(code="print(1)")]
    <|tool_call_start|>[search(query='author of Emma')]<|tool_call_end|>

No code is run, because only names and literal values are read.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, read_call, unreadable
from aepo.types import ToolCall

_OPEN = re.compile(r"(?:\A|</think>|<\|tool_call_start\|>|<\|python_start\|>)\s*(?=\[\s*[A-Za-z_][\w.]*\()")
_STRING = r"'(?:[^'\\]++|\\.)*+'|\"(?:[^\"\\]++|\\.)*+\""
_LEXEME = re.compile(rf"[({{\[]|[)}}\]]|{_STRING}|[^'\"(){{}}\[\]]+", re.DOTALL)
_JSON_WORDS = {"true": True, "false": False, "null": None}


def blanked(text: str) -> str:
    """The text with lists of calls replaced by NULs, character by character."""
    parts, at = [], 0
    while (found := _OPEN.search(text, at)) is not None:
        end = _end(text, found.end())
        parts += [text[at : found.end()], "\0" * (end - found.end())]
        at = end
    return "".join(parts) + text[at:]


def find_calls(text: str, tools: Mapping[str, ToolLike]) -> tuple[ToolCall, ...]:
    """The turn's tool calls in their order; one that cannot be run has its `error` set."""
    found: list[ToolCall] = []
    for start, end in _spans(text):
        try:
            found += [read_call(call, tools) for call in _calls(text[start:end])]
        except ValueError as problem:
            found.append(unreadable(problem))
    return tuple(found)


def call_position(text: str) -> int:
    """Start, in characters, of the first call that `find_calls` finds in `text`, with the tag before it."""
    found = _OPEN.search(text)
    if found is None:
        return len(text)
    return found.start() + len(re.match(r"(?:</think>)?\s*", found.group()).group())  # type: ignore[union-attr]


def _spans(text: str) -> list[tuple[int, int]]:
    shown = blanked(text)
    return [found.span() for found in re.finditer("\0+", shown)]


def _end(text: str, start: int) -> int:
    depth, at = 0, start
    while (lexeme := _LEXEME.match(text, at)) is not None:
        first, at = lexeme.group()[0], lexeme.end()
        depth += (first in "({[") - (first in ")}]")
        if depth == 0:
            break
    return at


def _calls(text: str) -> list[dict[str, Any]]:
    """The calls of one list.

    Raises:
        ValueError: It is not a list of calls with literal values by name.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("not a list of Python calls") from None
    if not isinstance(tree, ast.List) or not all(isinstance(one, ast.Call) for one in tree.elts):
        raise ValueError("not a list of Python calls")
    return [_call(one) for one in tree.elts if isinstance(one, ast.Call)]


def _call(call: ast.Call) -> dict[str, Any]:
    name = ast.unparse(call.func)
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise ValueError(f"not readable: give each argument of {name} by its name")
    arguments = {str(keyword.arg): _value(keyword.value) for keyword in call.keywords}
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        raise ValueError(f"not readable: an argument of {name} is no JSON value") from None
    return {"name": name, "arguments": arguments}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _JSON_WORDS:
        return _JSON_WORDS[node.id]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"not readable: {ast.unparse(node)[:40]!r} is no literal value") from None


PYTHONIC = CallFormat(
    "a list of Python calls", blanked, find_calls, call_position, tokens=("<|tool_call_start|>", "<|tool_call_end|>")
)
