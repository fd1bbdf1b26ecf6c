"""Finds tool calls in the text of a turn: JSON in `<tool_call>` tags, Llama's bare JSON.

Text inside a call's JSON is data, even if it looks like markup. So JSON is found first (`blanked`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from aepo.rollout.chat.json_text import load_object, load_prefix, load_value
from aepo.types import ToolCall

PYTHON_TAG = "<|python_tag|>"
_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_BEFORE_JSON = re.compile(rf"(?:\A|<tool_call>|</think>|{re.escape(PYTHON_TAG)})\s*(?=[{{\[])")
# Policies also write strings with raw newlines and unknown escapes, and several values in a row.
_LEXEME = re.compile(r'[{\[]|[}\]]|[\s:,;]+|"(?:[^"\\]++|\\.)*+"|[\w.+-]+', re.DOTALL)
_BETWEEN = ";, \n"
_LOOKS_LIKE_CALL = re.compile(r'\{\s*"name"\s*:\s*"[^"]*"\s*,\s*"(parameters|arguments)"\s*:')


def blanked(text: str) -> str:
    """The text with the JSON of calls replaced by blanks, character by character; tags that remain are real tags.

    JSON can begin where a call can: at the start, after thinking, after a call's tag. Its strings are skipped whole. It
    ends with its last bracket, or at text outside of a string that is not JSON, such as a tag.
    """
    parts, at = [], 0
    while (found := _BEFORE_JSON.search(text, at)) is not None:
        end = _json_end(text, found.end())
        parts += [text[at : found.end()], "\0" * (end - found.end())]
        at = end
    return "".join(parts) + text[at:]


def _json_end(text: str, start: int) -> int:
    depth, at = 0, start
    while (lexeme := _LEXEME.match(text, at)) is not None:
        first = lexeme.group()[0]
        if depth == 0 and not (first in "{[:,;" or first.isspace()):
            break
        depth += (first in "{[") - (first in "}]")
        at = lexeme.end()
    return at


def find_calls(text: str, tools: Collection[str]) -> tuple[ToolCall, ...]:
    """The turn's tool calls in their order; one that cannot be run has its `error` set.

    It reads `<tool_call>{"name": .., "arguments": {..}}</tool_call>`, once or several times, also with a list (Hermes,
    Qwen, SmolLM2), and a turn that is `{"name": .., "parameters": {..}}`, with or without `<|python_tag|>` before it,
    or several of them with ";" between them (Llama 3).
    """
    blocks = [text[slice(*block.span(1))] for block in _BLOCK.finditer(blanked(text))]
    found = [call for block in blocks for call in _in_block(block)] if blocks else _bare(text)
    return tuple(call if isinstance(call, ToolCall) else _read(call, tools) for call in found)


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
        return [_unreadable(problem)]


def _bare(text: str) -> list[Any]:
    _, tag, tagged = blanked(text).partition(PYTHON_TAG)
    text = text[len(text) - len(tagged) :].strip() if tag else text.strip()
    if not tag and not text.startswith("{"):
        return []
    try:
        value, rest = load_prefix(text)
    except ValueError as problem:
        return [_unreadable(problem)] if tag or _LOOKS_LIKE_CALL.match(text) else []
    if not tag and not (isinstance(value, dict) and "name" in value and {"parameters", "arguments"} & value.keys()):
        return []
    found = _as_list(value)
    while (following := rest.lstrip(_BETWEEN)).startswith("{"):
        try:
            value, rest = load_prefix(following)
        except ValueError as problem:
            return [*found, _unreadable(problem)]
        found = [*found, value]
    return [_unreadable("followed by text: end the turn after it")] if following else found


def _unreadable(problem: object) -> ToolCall:
    return ToolCall("", error=f"the tool call is {problem}")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _name(call: Any) -> str:
    name = call.get("name") if isinstance(call, dict) else None
    return name if isinstance(name, str) else ""


def _read(call: Any, tools: Collection[str]) -> ToolCall:
    name = _name(call)
    if not name:
        return ToolCall("", error='the tool call needs a "name" and "arguments"')
    if name not in tools:
        return ToolCall(name, error=f"there is no tool {name!r}; the tools are: {', '.join(tools) or 'none'}")
    arguments = call.get("arguments", call.get("parameters"))
    try:
        if isinstance(arguments, str):
            arguments = load_object(arguments) if arguments.strip() else {}
    except ValueError as problem:
        return ToolCall(name, error=f"the arguments of {name} are {problem}")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return ToolCall(name, error=f"the arguments of {name} are not a JSON object")
    return ToolCall(name, arguments)
