"""Chat protocols, which write questions, tool calls, results and answers as tokens."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aepo.rollout.chat.base import ChatProtocol, ParsedTurn, Tokenizer, ToolLike
from aepo.rollout.chat.native import NativeProtocol
from aepo.rollout.chat.tags import TagProtocol
from aepo.rollout.generator import NOTHING, Stop
from aepo.types import Example

__all__ = [
    "ChatProtocol",
    "NativeProtocol",
    "ParsedTurn",
    "TagProtocol",
    "Tokenizer",
    "ToolLike",
    "make_protocol",
]


def make_protocol(
    name: Literal["tags", "chat"],
    tokenizer: Tokenizer,
    tools: Sequence[ToolLike] = (),
    system: str | None = None,
    date: datetime.date | None = None,
    ends: Stop = NOTHING,
    template: Mapping[str, Any] | None = None,
    describe: bool = True,
    examples: Sequence[Example] = (),
) -> ChatProtocol:
    """Make a protocol and check its chat template.

    Args:
        name: "tags" (`TagProtocol`) or "chat" (`NativeProtocol`).
        tokenizer: A transformers tokenizer with a chat template.
        tools: The tools that the model may call.
        system: A system text, under which the protocol describes tools and format; None for the description alone,
            empty for no system text at all.
        date: Today's date for templates that ask for it; by default today, and it does not change later.
        ends: Further ends of a turn that the model's files declare.
        template: The chat template's arguments, such as {"enable_thinking": False}, and "file" for another template.
        describe: Whether the protocol describes tools and format; without it the model reads `system` alone.
        examples: Solved questions, which stand before the real one as earlier messages.

    Raises:
        ValueError: The name is unknown, or the tokenizer, the template or a tool does not fit the protocol.
    """
    date = date or datetime.date.today()
    if name == "tags":
        return TagProtocol(tokenizer, tools, system, date, ends, template, describe, examples)
    if name == "chat":
        return NativeProtocol(tokenizer, tools, system, date, ends, template, describe, examples)
    raise ValueError(f"unknown protocol {name!r}: choose tags or chat")
