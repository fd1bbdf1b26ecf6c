"""The protocol `chat`: it uses the model's own template and tool messages, and calls in the form of the template.

A turn ends with the template's end-of-turn token, or with an end that the model declares. A turn without a call is the
final answer. Text inside a call's arguments is data, even if it looks like markup.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aepo.rollout.chat.base import ParsedTurn, Tokenizer, ToolLike, check_tools
from aepo.rollout.chat.ends import find_ends
from aepo.rollout.chat.examples import check_examples, in_json, turn_of
from aepo.rollout.chat.learn import learn_conventions
from aepo.rollout.chat.quote import quoter
from aepo.rollout.chat.reading import reader_of
from aepo.rollout.chat.reply import learn_reply, told
from aepo.rollout.chat.template import MessageDict, Template, calling, message, thinking
from aepo.rollout.generator import NOTHING, Stop
from aepo.types import Example, ToolCall, ToolResult

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
        reserved: Tags and control tokens, which only the protocol and the policy may write.
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
        describe: bool = True,
        examples: Sequence[Example] = (),
    ) -> None:
        """Check the template; arguments as in `make_protocol`. Without a date a template reads the clock.

        Tools that the template ignores are described in the system text, unless `system` is empty.

        Raises:
            ValueError: There is no chat template, it changes earlier turns, hides results or writes other calls, or an
                example cannot be written.
        """
        self._tools = check_tools(tools)
        own = Template.chosen(tokenizer, tools, system, date, template)
        found = self.conventions = learn_conventions(own)
        self._template = found.template
        self._shown = found.template if describe else replace(found.template, schemas=(), system=system)
        self.system = self._shown.system or ""
        self._reply = learn_reply(self._template)
        ends = Stop(ends.tokens | {found.glue.end}, ends.strings)
        self._ends = find_ends(self._template, ends, ("</think>", "</tool_call>", "</answer>"), found.form.going_on)
        self.stop = Stop(self._ends.tokens, self._ends.strings)
        control = self._template.control_tokens()
        tags = {f"<{slash}{name}>" for name in _MARKUP for slash in ("", "/")}
        self.reserved = frozenset(control.keys() | tags)
        self._quote = quoter(self.reserved)
        self._quote_question = quoter(control.keys() - tags)
        ending = {self._template.decode([i]) for i in self._ends.tokens}
        between = found.glue.before + found.glue.after
        forbidden = sorted(t for t in control.keys() - tags - ending if t in between)
        self._reader = reader_of(found, [*forbidden, "<tool_response>", "</tool_response>"])
        self._examples = [message for example in examples for message in self._solved(example)]
        check_examples(self._shown, self._examples)

    def prompt(self, question: str, instruction: str = "") -> list[int]:
        """The question, with tools, system text and examples, up to the start of the assistant's turn."""
        return self._shown.prompt(self._quote_question(question), self._examples, self._quote(instruction))

    def turn(self, call: ToolCall, thought: str = "") -> list[int]:
        """The thought and the call as the template writes them; as JSON in a tag where it writes no calls."""
        return self._written(call, thought)[1]

    def _written(self, call: ToolCall, thought: str) -> tuple[MessageDict, list[int]]:
        """A message with a call, and the tokens of its turn."""
        for made in (calling((call.name, call.arguments), thought=thought), in_json(call, thought)):
            tokens = turn_of(self._template, made, self._ends.tokens)
            if tokens and self.parse(tokens).calls == (call,):
                return made, tokens
        raise ValueError(f"the chat template cannot write a call of {call.name} with {call.arguments}")

    def _solved(self, example: Example) -> list[MessageDict]:
        """An example as the messages of a conversation."""
        thoughts = [*example.thoughts, *[""] * (len(example.calls) + 1)]
        messages = [message("user", self._quote_question(example.question))]
        for (call, result), thought in zip(example.calls, thoughts, strict=False):
            messages.append(self._written(call, thought)[0])
            messages += self.conventions.glue.messages([(self._quote(result.strip()), self._quote(call.name))])
        answer = message("assistant", self._quote(example.answer))
        return [*messages, {**answer, **thinking(thoughts[len(example.calls)])}]

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
