"""Turns of gpt-oss: messages in the channels analysis, commentary and final; a call is a message to a function.

    <|channel|>analysis<|message|>I look it up.<|end|><|start|>assistant
    <|channel|>commentary to=functions.search <|constrain|>json<|message|>{"query": "author of Emma"}<|call|>

Only the channel final is the answer. The token <|end|> ends a message, not the turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.formats.base import CallFormat, blank_json, read_call
from aepo.types import ToolCall

CHANNEL = "<|channel|>"
_FUNCTIONS = "functions."
_BEFORE_JSON = re.compile(r"<\|message\|>\s*(?=[{\[])")
_MESSAGE = re.compile(
    r"(?:<\|start\|>(?P<role>\w*))?(?P<header>(?:(?!<\|(?:message|start|end)\|>).)*)"
    r"<\|message\|>(?P<body>.*?)(?:<\|end\|>|(?=<\|start\|>)|\Z)",
    re.DOTALL,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"to=([^\s<]+)")


@dataclass(frozen=True)
class Message:
    """One message of a turn.

    Attributes:
        role: The author that the header names; empty for the turn's first message.
        channel: "analysis", "commentary", "final", or another word that was written; empty without a channel.
        recipient: The function that it calls, such as "functions.search"; empty if it calls none.
        body: The text of the message.
        start: The start of the message in the turn, in characters.
    """

    role: str
    channel: str
    recipient: str
    body: str
    start: int


def blanked(text: str) -> str:
    """The text with JSON bodies replaced by NULs, character by character."""
    return blank_json(text, _BEFORE_JSON)


def messages(text: str) -> list[Message]:
    """The messages of a turn. JSON in a body is data, even if its strings look like tokens."""
    shown = blanked(text)
    return [_message(text, found) for found in _MESSAGE.finditer(shown)]


def broken(text: str) -> str | None:
    """One short line that says how a turn breaks the form; None if it does not."""
    shown = blanked(text)
    rest = _MESSAGE.sub("", shown).strip()
    if rest:
        return f"{rest[:30]!r} is no message: write <|channel|>, its name and <|message|>"
    for message in messages(text):
        if message.role not in ("", "assistant"):
            return f"<|start|>{message.role} was written by the policy: only the template writes it"
    return None


def find_calls(text: str, tools: Mapping[str, ToolLike]) -> tuple[ToolCall, ...]:
    """The turn's tool calls in their order; one that cannot be run has its `error` set."""
    called = [message for message in messages(text) if message.recipient]
    return tuple(read_call({"name": _name(one), "arguments": one.body}, tools) for one in called)


def call_position(text: str) -> int:
    """Start, in characters, of the first message that is a call."""
    return next((message.start for message in messages(text) if message.recipient), len(text))


def answer(text: str) -> str | None:
    """The text of the last message in the channel final; None without one."""
    found = [message.body for message in messages(text) if message.channel == "final"]
    return found[-1] if found else None


def _message(text: str, found: re.Match[str]) -> Message:
    header = found["header"]
    channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
    return Message(
        role=found["role"] or "",
        channel=channel.group(1) if channel else "",
        recipient=recipient.group(1) if recipient else "",
        body=text[slice(*found.span("body"))],
        start=found.start(),
    )


def _name(call: Message) -> str:
    return call.recipient.removeprefix(_FUNCTIONS)


HARMONY = CallFormat(
    "the channels of gpt-oss", blanked, find_calls, call_position, after_call=True, going_on=("<|end|>",)
)
