"""Tool calls as GLM 4.5 and later write them: a name, and a key and a value for each argument.

    <tool_call>search
    <arg_key>query</arg_key>
    <arg_value>author of Emma</arg_value>
    </tool_call>

A value's text is data. It ends at the close tag that is followed by the next key or by the end of the call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, read_call, typed, unreadable
from aepo.types import ToolCall

_OPEN = re.compile(r"<arg_key>[^<>\n]+</arg_key>\s*<arg_value>")
_CLOSE = re.compile(r"</arg_value>(?=\s*(?:<arg_key>|</tool_call>))")
_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_CALL = re.compile(r"\s*([^<>\s]+)\s*(.*)", re.DOTALL)
_ARGUMENT = re.compile(r"<arg_key>([^<>\n]+)</arg_key>\s*<arg_value>(\0*)</arg_value>\s*")


def blanked(text: str) -> str:
    """The text with the values of calls replaced by NULs, character by character."""
    parts, at = [], 0
    while (opened := _OPEN.search(text, at)) is not None:
        closed = _CLOSE.search(text, opened.end())
        if closed is None:
            break
        parts += [text[at : opened.end()], "\0" * (closed.start() - opened.end()), closed.group()]
        at = closed.end()
    return "".join(parts) + text[at:]


def find_calls(text: str, tools: Mapping[str, ToolLike]) -> tuple[ToolCall, ...]:
    """The turn's tool calls in their order; one that cannot be run has its `error` set."""
    return tuple(_call(text, block, tools) for block in _BLOCK.finditer(blanked(text)))


def call_position(text: str) -> int:
    """Start, in characters, of the first call that `find_calls` finds in `text`."""
    block = _BLOCK.search(blanked(text))
    return len(text) if block is None else block.start()


def _call(text: str, block: re.Match[str], tools: Mapping[str, ToolLike]) -> ToolCall:
    written = _CALL.fullmatch(block.group(1))
    if written is None:
        return unreadable("not of the form name, <arg_key>, <arg_value>")
    name, inside, start = written.group(1), written.group(2), block.start(1) + written.start(2)
    schemas = tools[name].parameters.get("properties", {}) if name in tools else {}
    arguments: dict[str, Any] = {}
    at = 0
    while (argument := _ARGUMENT.match(inside, at)) is not None:
        key, (first, last) = argument.group(1).strip(), argument.span(2)
        try:
            arguments[key] = typed(text[start + first : start + last], schemas.get(key, {}))
        except ValueError as problem:
            return ToolCall(name, error=f"the argument {key} of {name} is {problem}")
        at = argument.end()
    if inside[at:].strip():
        return ToolCall(name, error=f"the arguments of {name} are not all of the form <arg_key>, <arg_value>")
    return read_call({"name": name, "arguments": arguments}, tools)


GLM = CallFormat("<arg_key> and <arg_value> in <tool_call> tags", blanked, find_calls, call_position)
