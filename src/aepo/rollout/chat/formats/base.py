"""Defines a format of tool calls, and has the functions that several formats share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.json_text import load_object, load_value
from aepo.types import ToolCall

# Policies also write strings with raw newlines and unknown escapes, and several values in a row.
_LEXEME = re.compile(r'[{\[]|[}\]]|[\s:,;]+|"(?:[^"\\]++|\\.)*+"|[\w.+-]+', re.DOTALL)

_PYTHON_WORDS = {"True": True, "False": False, "None": None}


def no_ids(text: str) -> tuple[str | None, ...]:
    """An empty tuple, for a format whose calls have no ids."""
    return ()


@dataclass(frozen=True)
class CallFormat:
    """The way in which a family of models writes tool calls in the text of a turn.

    Attributes:
        name: A short picture of the format, for messages.
        blanked: Replaces the content of calls by NULs, character by character, so that tags that remain are real tags.
        find: Finds the calls in a text without thinking, by the tools; one that cannot be run has its `error` set.
        position: Gives the start, in characters, of the first call that `find` finds.
        thinking: The tags around thinking.
        after_call: Whether the template writes a result only after a call that it wrote itself.
        ids: Gives the ids that the policy gave to its calls.
        tokens: The control tokens of a model with this format, for templates that write no calls themselves.
        going_on: The control tokens that end a part of a turn, after which it goes on.
    """

    name: str
    blanked: Callable[[str], str]
    find: Callable[[str, Mapping[str, ToolLike]], tuple[ToolCall, ...]]
    position: Callable[[str], int]
    thinking: tuple[str, str] = ("<think>", "</think>")
    after_call: bool = False
    ids: Callable[[str], tuple[str | None, ...]] = no_ids
    tokens: tuple[str, ...] = ()
    going_on: tuple[str, ...] = ()


def blank_json(text: str, before: re.Pattern[str], several: bool = False) -> str:
    """The text with JSON replaced by NULs where it stands after a match of `before`.

    JSON ends with its last bracket, or at text that is not JSON and not in a string, such as a tag. Its strings are
    skipped whole. With `several` there may be several values in a row.
    """
    parts, at = [], 0
    while (found := before.search(text, at)) is not None:
        end = _json_end(text, found.end(), several)
        parts += [text[at : found.end()], "\0" * (end - found.end())]
        at = max(end, found.end())
    return "".join(parts) + text[at:]


def read_call(call: Any, tools: Mapping[str, ToolLike]) -> ToolCall:
    """The call of a JSON value {"name": .., "arguments": {..}}; arguments may also be the text of an object."""
    name = call.get("name") if isinstance(call, dict) else None
    if not isinstance(name, str) or not name:
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


def typed(text: str, schema: Mapping[str, Any]) -> Any:
    """The value of a text by its schema: the text itself where one is allowed, else JSON or one of Python's words.

    Raises:
        ValueError: The text is no such value.
    """
    types = _types(schema)
    if not types or "string" in types:
        return None if "null" in types and text in ("null", "None") else text
    return _PYTHON_WORDS[text.strip()] if text.strip() in _PYTHON_WORDS else load_value(text)


def unreadable(problem: object) -> ToolCall:
    """The call for a text that cannot be read."""
    return ToolCall("", error=f"the tool call is {problem}")


def _types(schema: Mapping[str, Any]) -> set[str]:
    given = schema.get("type", [])
    found = {given} if isinstance(given, str) else set(given)
    return found.union(*(_types(one) for key in ("anyOf", "oneOf") for one in schema.get(key, [])))


def _json_end(text: str, start: int, several: bool) -> int:
    depth, at = 0, start
    while (lexeme := _LEXEME.match(text, at)) is not None:
        first = lexeme.group()[0]
        if depth == 0 and not (first in "{[:,;" or first.isspace()):
            break
        depth += (first in "{[") - (first in "}]")
        at = lexeme.end()
        if depth == 0 and not several:
            break
    return at
