"""Reads the text of one turn: its thinking, its calls, its answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aepo.boxed import last_boxed
from aepo.rollout.chat.base import ParsedTurn, ToolLike
from aepo.rollout.chat.conventions import Conventions
from aepo.rollout.chat.formats import HARMONY, CallFormat, harmony


class TurnReader(Protocol):
    """Reads turns without the token or the string that ended them."""

    def read(self, text: str, tools: Mapping[str, ToolLike]) -> ParsedTurn:
        """The turn's calls or its answer; it raises for no sampled text."""

    def call_position(self, text: str) -> int:
        """Start, in characters, of the first call of a turn that has one."""


@dataclass(frozen=True)
class TaggedTurns:
    """Turns that think inside tags, mostly `<think>`, and then call or answer.

    Attributes:
        form: The format of calls.
        opened: The part of a turn that the prompt writes, an open tag of thinking and a newline; mostly empty.
        always: Whether the prompt opens every turn so, not only the first one.
        forbidden: The texts that only the template may write.
    """

    form: CallFormat
    opened: str
    always: bool
    forbidden: Sequence[str]

    def read(self, text: str, tools: Mapping[str, ToolLike]) -> ParsedTurn:
        """See `TurnReader`."""
        open_tag, close_tag = self.form.thinking
        text = self._whole(text)
        shown = self.form.blanked(text)
        for written in self.forbidden:
            if written in shown:
                return ParsedTurn(error=f"{written} was written by the policy: only the template writes it")
        thought, closed, shown = shown.rpartition(close_tag)
        if open_tag in shown:
            return ParsedTurn(error=f"{open_tag} is not closed")
        if closed and open_tag not in thought:
            return ParsedTurn(error=f"{close_tag} without {open_tag}")
        if problem := _unbalanced(shown, "tool_call"):
            return ParsedTurn(error=problem)
        body = text[len(text) - len(shown) :]
        calls = self.form.find(body, tools)
        return ParsedTurn(calls=calls) if calls else _answer(body, shown)

    def call_position(self, text: str) -> int:
        """See `TurnReader`."""
        thought, closed, _ = self.form.blanked(text).rpartition(self.form.thinking[1])
        start = len(thought + closed)
        return start + self.form.position(text[start:])

    def _whole(self, text: str) -> str:
        """The turn with the part that the prompt wrote."""
        if self.always or not self.opened:
            return self.opened + text
        # The prompt opens only the first turn, and this function does not know whether it reads that turn.
        thought, closed, _ = self.form.blanked(text).partition(self.form.thinking[1])
        return self.opened + text if closed and self.form.thinking[0] not in thought else text


@dataclass(frozen=True)
class ChannelTurns:
    """Turns of gpt-oss, which are messages in channels."""

    def read(self, text: str, tools: Mapping[str, ToolLike]) -> ParsedTurn:
        """See `TurnReader`."""
        if not text.strip():
            return ParsedTurn()
        if problem := harmony.broken(text):
            return ParsedTurn(error=problem)
        if calls := harmony.find_calls(text, tools):
            return ParsedTurn(calls=calls)
        answer = harmony.answer(text)
        return ParsedTurn() if answer is None else _answer(answer, answer)

    def call_position(self, text: str) -> int:
        """See `TurnReader`."""
        return harmony.call_position(text)


def reader_of(found: Conventions, forbidden: Sequence[str]) -> TurnReader:
    """The reader of a template's turns; `forbidden` has the texts that only the template may write."""
    if found.form is HARMONY:
        return ChannelTurns()
    start = found.start
    return TaggedTurns(found.form, start.first, start.first == start.later, forbidden)


def _unbalanced(body: str, tag: str) -> str | None:
    inside = False
    for match in re.finditer(f"<(/?){tag}>", body):
        if (match.group(1) == "/") != inside:
            return f"<{tag}> inside <{tag}>" if inside else f"</{tag}> without <{tag}>"
        inside = not inside
    return f"<{tag}> is not closed" if inside else None


def _answer(body: str, shown: str) -> ParsedTurn:
    if problem := _unbalanced(shown, "answer"):
        return ParsedTurn(error=problem)
    tagged = [body[slice(*found.span(1))] for found in re.finditer(r"<answer>(.*?)</answer>", shown, re.DOTALL)]
    if len(tagged) > 1:
        return ParsedTurn(error="more than one answer in a turn")
    text = tagged[0] if tagged else body
    boxed = last_boxed(text)
    answer = (text if boxed is None else boxed).strip()
    if answer:
        return ParsedTurn(answer=answer)
    return ParsedTurn(error="the answer is empty") if tagged or boxed is not None else ParsedTurn()
