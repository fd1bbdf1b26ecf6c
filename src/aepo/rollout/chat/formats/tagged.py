"""What call formats share that put each argument between tags of its own, inside <tool_call> tags.

An argument's text is data, even if it looks like markup. It ends at the close tag that is followed by the next argument
or by the end of the call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, read_call, typed, unreadable
from aepo.types import ToolCall

_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


@dataclass(frozen=True)
class Tags:
    """The tags of a format.

    Attributes:
        start: The beginning of a call, up to its first argument.
        opened: The open tags of an argument, behind `start` or another argument.
        closed: The close tag of an argument.
        call: The inside of a call; its groups are the name and the arguments.
        argument: One argument with its text as NULs; its groups are the key and the text.
        form: The form of a call, for messages.
        each: The form of an argument, for messages.
        word: The format's word for an argument, for messages.
        text: An argument as the tool gets it, from its text between the tags.
    """

    start: re.Pattern[str]
    opened: re.Pattern[str]
    closed: re.Pattern[str]
    call: re.Pattern[str]
    argument: re.Pattern[str]
    form: str
    each: str
    word: str
    text: Callable[[str], str]

    def blanked(self, text: str) -> str:
        """The text with the arguments of calls replaced by NULs, character by character."""
        parts, at = [], 0
        while (start := self.start.search(text, at)) is not None:
            parts.append(text[at : start.end()])
            at = start.end()
            while (opened := self.opened.match(text, at)) is not None:
                closed = self.closed.search(text, opened.end())
                if closed is None:
                    break
                parts += [opened.group(), "\0" * (closed.start() - opened.end()), closed.group()]
                at = closed.end()
        return "".join(parts) + text[at:]

    def find_calls(self, text: str, tools: Mapping[str, ToolLike]) -> tuple[ToolCall, ...]:
        """The turn's tool calls in their order; one that cannot be run has its `error` set."""
        return tuple(self._call(text, block, tools) for block in _BLOCK.finditer(self.blanked(text)))

    def call_position(self, text: str) -> int:
        """The start, in characters, of the first call that `find_calls` finds in `text`."""
        block = _BLOCK.search(self.blanked(text))
        return len(text) if block is None else block.start()

    def _call(self, text: str, block: re.Match[str], tools: Mapping[str, ToolLike]) -> ToolCall:
        written = self.call.fullmatch(block.group(1))
        if written is None:
            return unreadable(f"not of the form {self.form}")
        name, inside, start = written.group(1).strip(), written.group(2), block.start(1) + written.start(2)
        schemas = tools[name].parameters.get("properties", {}) if name in tools else {}
        arguments: dict[str, Any] = {}
        at = 0
        while (argument := self.argument.match(inside, at)) is not None:
            key, (first, last) = argument.group(1).strip(), argument.span(2)
            try:
                arguments[key] = typed(self.text(text[start + first : start + last]), schemas.get(key, {}))
            except ValueError as problem:
                return ToolCall(name, error=f"the {self.word} {key} of {name} is {problem}")
            at = argument.end()
        if inside[at:].strip():
            return ToolCall(name, error=f"the {self.word}s of {name} are not all of the form {self.each}")
        return read_call({"name": name, "arguments": arguments}, tools)


def tagged(name: str, tags: Tags) -> CallFormat:
    """The format with these tags."""
    return CallFormat(name, tags.blanked, tags.find_calls, tags.call_position)
