"""Tool calls as Mistral's models write them, after the control token [TOOL_CALLS].

    [TOOL_CALLS][{"name": "search", "arguments": {"query": "author of Emma"}, "id": "a1B2c3D4e"}]
    [TOOL_CALLS]search[CALL_ID]a1B2c3D4e[ARGS]{"query": "author of Emma"}
    [TOOL_CALLS]search[ARGS]{"query": "author of Emma"}

A result names the id of its call where the family has ids. Thinking is in [THINK] tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, blank_json, read_call, unreadable
from aepo.rollout.chat.json_text import load_value
from aepo.types import ToolCall

_TOKEN = "[TOOL_CALLS]"
_BEFORE_JSON = re.compile(r"(?:\[TOOL_CALLS\]|\[ARGS\])\s*(?=[{\[])")
_NAMED = re.compile(r"\s*([^\[\s]+)\s*(?:\[CALL_ID\]([^\[\s]*)\s*)?\[ARGS\](.*)", re.DOTALL)


def blanked(text: str) -> str:
    """The text with the JSON of calls replaced by NULs, character by character."""
    return blank_json(text, _BEFORE_JSON)


def find_calls(text: str, tools: Mapping[str, ToolLike]) -> tuple[ToolCall, ...]:
    """The turn's tool calls in their order; one that cannot be run has its `error` set."""
    return tuple(call for part in _parts(text) for call in _in_part(part, tools))


def call_position(text: str) -> int:
    """Start, in characters, of the first call that `find_calls` finds in `text`."""
    at = blanked(text).find(_TOKEN)
    return len(text) if at < 0 else at


def call_ids(text: str) -> tuple[str | None, ...]:
    """The id that the policy gave to each call that `find_calls` finds; None for a call without one."""
    return tuple(found for part in _parts(text) for found in _ids(part))


def _parts(text: str) -> list[str]:
    """The texts after each [TOOL_CALLS]."""
    shown = blanked(text)
    tokens = [found.span() for found in re.finditer(re.escape(_TOKEN), shown)]
    nexts = [start for start, _ in tokens[1:]] + [len(text)]
    return [text[end:until] for (_, end), until in zip(tokens, nexts, strict=False)]


def _in_part(part: str, tools: Mapping[str, ToolLike]) -> list[ToolCall]:
    named = _NAMED.fullmatch(part)
    try:
        if named is not None:
            return [read_call({"name": named.group(1), "arguments": named.group(3)}, tools)]
        return [read_call(value, tools) for value in _listed(part)]
    except ValueError as problem:
        return [unreadable(problem)]


def _ids(part: str) -> list[str | None]:
    named = _NAMED.fullmatch(part)
    if named is not None:
        return [named.group(2)]
    try:
        given = [value.get("id") if isinstance(value, dict) else None for value in _listed(part)]
    except ValueError:
        return [None]
    return [one if isinstance(one, str) else None for one in given]


def _listed(part: str) -> list[Any]:
    value = load_value(part)
    return value if isinstance(value, list) else [value]


MISTRAL = CallFormat(
    "[TOOL_CALLS]", blanked, find_calls, call_position, ("[THINK]", "[/THINK]"), after_call=True, ids=call_ids
)
