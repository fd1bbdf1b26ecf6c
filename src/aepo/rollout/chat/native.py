"""The protocol `chat`: it uses the model's own template and tool messages, and calls in the form of the template.

A turn ends with the template's end-of-turn token, or with an end that the model declares. A turn without a call is the
final answer. Text inside a call's arguments is data, even if it looks like markup.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aepo.rollout.chat.base import ParsedTurn, Tokenizer, ToolLike, check_tools
from aepo.rollout.chat.ends import find_ends
from aepo.rollout.chat.learn import learn_conventions
from aepo.rollout.chat.quote import quoter
from aepo.rollout.chat.reading import reader_of
from aepo.rollout.chat.reply import learn_reply, told
from aepo.rollout.chat.template import Template
from aepo.rollout.generator import NOTHING, Stop
from aepo.types import ToolCall, ToolResult

_OPENING = re.compile(r"\s*(?:<[^<>]+>|\[[A-Z_]+\])")
"""The markup that opens a call, e.g. `<tool_call>` or `[TOOL_CALLS]`."""

_MARKUP = ("tool_call", "tool_response", "think", "answer")


class NativeProtocol:
    """Writes questions, calls and results with the model's chat template.

    Attributes:
        name: "chat".
        stop: The tokens and strings that end a turn.
        system: The system text; empty uses the template's default.
        conventions: The way in which the template writes turns, calls and results.
    """

    name = "chat"

    def __init__(
        self,
        tokenizer: Tokenizer,
        tools: Sequence[ToolLike] = (),
        system: str | None = None,
        date: datetime.date | None = None,
        ends: Stop = NOTHING,
        template: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the template; arguments as in `make_protocol`. Without a date a template reads the clock.

        Tools that the template ignores are described in the system text, unless `system` is empty.

        Raises:
            ValueError: There is no chat template, or it changes earlier turns, hides results or writes other calls.
        """
        self._tools = check_tools(tools)
        own = Template.chosen(tokenizer, tools, system, date, template)
        found = self.conventions = learn_conventions(own)
        self._template, self.system = found.template, found.template.system or ""

        self._reply = learn_reply(self._template)
        ends = Stop(ends.tokens | {found.glue.end}, ends.strings)
        self._ends = find_ends(self._template, ends, ("</think>", "</tool_call>", "</answer>"), found.form.going_on)
        self.stop = Stop(self._ends.tokens, self._ends.strings)
        control = self._template.control_tokens()
        tags = {f"<{slash}{name}>" for name in _MARKUP for slash in ("", "/")}
        self._quote = quoter(control.keys() | tags)
        self._quote_question = quoter(control.keys() - tags)
        ending = {self._template.decode([i]) for i in self._ends.tokens}
        between = found.glue.before + found.glue.after
        forbidden = sorted(t for t in control.keys() - tags - ending if t in between)
        self._reader = reader_of(found, [*forbidden, "<tool_response>", "</tool_response>"])

    def prompt(self, question: str) -> list[int]:
        """The question, with tools and system text, up to the start of the assistant's turn."""
        return self._template.prompt(self._quote_question(question))

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        """Parse one turn: it has calls or an answer."""
        parsed = self._reader.read(self._ends.text(tokens), self._tools)
        if len(parsed.calls) > 1 and not self.conventions.several:
            count, name = len(parsed.calls), parsed.calls[0].name
            return ParsedTurn(calls=(ToolCall(name, error=f"one call at a time: this turn has {count}, none was run"),))
        return parsed

    def call_start(self, tokens: Sequence[int]) -> int:
        """Number of tokens before the first call, or before the tag around it."""
        return self._template.tokens_before(tokens, self._reader.call_position(self._ends.text(tokens)))

    def call_opened(self, tokens: Sequence[int]) -> int:
        """Number of tokens up to the end of the markup that opens the first call; without markup, up to its name."""
        text = self._ends.text(tokens)
        start = self._reader.call_position(text)
        markup = _OPENING.match(text, start)
        if markup is not None:
            return self._template.tokens_through(tokens, markup.end())
        name = text.find(self.parse(tokens).calls[0].name, start)
        return self._template.tokens_through(tokens, max(start, name))

    def observation(
        self, results: Sequence[ToolResult], calls: Sequence[ToolCall], turn: Sequence[int] = ()
    ) -> list[int]:
        """The template's text after the end-of-turn token, with the stripped results in it.

        An end token is inserted only if the policy sampled none, because a string ended the turn.
        """
        by_string = turn and turn[-1] not in self._ends.tokens
        named = [
            (self._quote(result.text.strip()), self._quote(call.name))
            for result, call in zip(results, calls, strict=True)
        ]
        ids = [None if id is None else self._quote(id) for id in self.conventions.form.ids(self._ends.text(turn))]
        glue = self.conventions.glue
        text = glue.encode(self._template, named, ids)
        return [glue.end, *text] if by_string else text

    def format_error(self, error: str, turn: Sequence[int]) -> list[int]:
        """The error as a user's message, or as a tool's result if the template cannot write a user's message here."""
        if self._reply is None:
            return self.observation([ToolResult(told(error))], [ToolCall(self._template.caller)], turn)
        return self._reply.encode(self._template, self._quote(told(error)), ended=turn[-1] in self._ends.tokens)
