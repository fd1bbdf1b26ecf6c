"""Tool calls as most families write them: JSON in `<tool_call>` tags, or Llama's bare JSON.

Text inside a call's JSON is data, even if it looks like markup. So JSON is found first (`blanked`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, blank_json, read_call, unreadable
from aepo.rollout.chat.json_text import load_prefix, load_value
from aepo.types import ToolCall

PYTHON_TAG = "<|python_tag|>"
_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_BEFORE_JSON = re.compile(rf"(?:\A|<tool_call>|</think>|{re.escape(PYTHON_TAG)})\s*(?=[{{\[])")
_BETWEEN = ";, \n"
_LOOKS_LIKE_CALL = re.compile(r'\{\s*"name"\s*:\s*"[^"]*"\s*,\s*"(parameters|arguments)"\s*:')


def blanked(text: str) -> str:
    """The text with the JSON of calls replaced by NULs, character by character; tags that remain are real tags.

    JSON can begin where a call can: at the start, after thinking, after a call's tag.
    """
    return blank_json(text, _BEFORE_JSON, several=True)


def find_calls(text: str, tools: Mapping[str, ToolLike]) -> tuple[ToolCall, ...]:
    """The turn's tool calls in their order; one that cannot be run has its `error` set.

    It reads `<tool_call>{"name": .., "arguments": {..}}</tool_call>`, once or several times, also with a list (Hermes,
    Qwen, SmolLM2), and a turn that is `{"name": .., "parameters": {..}}`, with or without `<|python_tag|>` before it,
    or several of them with ";" between them (Llama 3).
    """
    blocks = [text[slice(*block.span(1))] for block in _BLOCK.finditer(blanked(text))]
    found = [call for block in blocks for call in _in_block(block)] if blocks else _bare(text)
    return tuple(call if isinstance(call, ToolCall) else read_call(call, tools) for call in found)


def call_position(text: str) -> int:
    """Start, in characters, of the first call that `find_calls` finds in `text`."""
    shown = blanked(text)
    block = _BLOCK.search(shown)
    if block is not None:
        return block.start()
    tag = shown.find(PYTHON_TAG)
    return tag if tag >= 0 else len(text) - len(text.lstrip())


def _in_block(block: str) -> list[Any]:
    try:
        return _as_list(load_value(block))
    except ValueError as problem:
        return [unreadable(problem)]


def _bare(text: str) -> list[Any]:
    _, tag, tagged = blanked(text).partition(PYTHON_TAG)
    text = text[len(text) - len(tagged) :].strip() if tag else text.strip()
    if not tag and not text.startswith("{"):
        return []
    try:
        value, rest = load_prefix(text)
    except ValueError as problem:
        return [unreadable(problem)] if tag or _LOOKS_LIKE_CALL.match(text) else []
    if not tag and not (isinstance(value, dict) and "name" in value and {"parameters", "arguments"} & value.keys()):
        return []
    found = _as_list(value)
    while (following := rest.lstrip(_BETWEEN)).startswith("{"):
        try:
            value, rest = load_prefix(following)
        except ValueError as problem:
            return [*found, unreadable(problem)]
        found = [*found, value]
    return [unreadable("followed by text: end the turn after it")] if following else found


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


JSON = CallFormat("JSON in <tool_call> tags or bare", blanked, find_calls, call_position)
