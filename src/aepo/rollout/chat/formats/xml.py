"""Tool calls as Qwen3-Coder, Qwen3.5 and Nemotron 3 write them: a function and its parameters, each in a tag.

    <tool_call>
    <function=search>
    <parameter=query>
    author of Emma
    </parameter>
    </function>
    </tool_call>

A parameter's text is data, even if it looks like markup. It ends at the close tag that is followed by the next
parameter or by the end of the function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, read_call, typed, unreadable
from aepo.types import ToolCall

_FUNCTION = re.compile(r"<tool_call>\s*<function=[^>\n]*>")
_OPEN = re.compile(r"\s*<parameter=[^>\n]+>")
_CLOSE = re.compile(r"</parameter>(?=\s*(?:<parameter=|</function>))")
_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_CALL = re.compile(r"\s*<function=([^>\n]+)>(.*)</function>\s*", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>(\0*)</parameter>\s*")


def blanked(text: str) -> str:
    """The text with the parameters of calls replaced by NULs, character by character."""
    parts, at = [], 0
    while (function := _FUNCTION.search(text, at)) is not None:
        parts.append(text[at : function.end()])
        at = function.end()
        while (opened := _OPEN.match(text, at)) is not None:
            closed = _CLOSE.search(text, opened.end())
            if closed is None:
                break
            parts += [opened.group(), "\0" * (closed.start() - opened.end()), closed.group()]
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
        return unreadable("not of the form <function=name>...</function>")
    name, inside, start = written.group(1).strip(), written.group(2), block.start(1) + written.start(2)
    schemas = tools[name].parameters.get("properties", {}) if name in tools else {}
    arguments: dict[str, Any] = {}
    at = 0
    while (parameter := _PARAMETER.match(inside, at)) is not None:
        key, (first, last) = parameter.group(1).strip(), parameter.span(2)
        try:
            value = text[start + first : start + last].removeprefix("\n").removesuffix("\n")
            arguments[key] = typed(value, schemas.get(key, {}))
        except ValueError as problem:
            return ToolCall(name, error=f"the parameter {key} of {name} is {problem}")
        at = parameter.end()
    if inside[at:].strip():
        return ToolCall(name, error=f"the parameters of {name} are not all of the form <parameter=name>...</parameter>")
    return read_call({"name": name, "arguments": arguments}, tools)


XML = CallFormat("<function=...> in <tool_call> tags", blanked, find_calls, call_position)
