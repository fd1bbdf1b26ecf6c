"""The tag protocol: `<think>`, a tag per tool, `<result>`, `<answer>`, all in one assistant message.

policy       <think>Who wrote it?</think><search>author of Emma</search>
observation  <result>Emma is a novel by Jane Austen.</result>
policy       <answer>Jane Austen</answer>
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aepo.rollout.chat.base import ParsedTurn, Tokenizer, ToolLike, check_tools, system_text
from aepo.rollout.chat.ends import find_ends
from aepo.rollout.chat.examples import check_examples
from aepo.rollout.chat.formats.harmony import CHANNEL
from aepo.rollout.chat.json_text import load_object, load_value
from aepo.rollout.chat.quote import quoter
from aepo.rollout.chat.reply import learn_reply, told
from aepo.rollout.chat.template import MessageDict, Template, message
from aepo.rollout.generator import NOTHING, Stop
from aepo.types import Example, ToolCall, ToolResult

_OWN = ("think", "result", "answer")


class TagProtocol:
    """Finds tags by a scan of the turn's text.

    A tool with one parameter, or one required parameter, takes the text between its tags; any other takes a JSON
    object. Other tags are plain text, and so is everything between a tool's tags that does not end a turn.

    A turn has one call, because a tool's close tag ends it.

    Attributes:
        name: "tags".
        stop: A tool's close tag, `</answer>`, a `<result>` that the policy writes, or an end that the model declares.
            Tags are matched as tokens if the tokenizer has one for each of them, else as strings.
        system: The system text; empty means no system message.
        reserved: Tags and control tokens, which only the protocol and the policy may write.
    """

    name = "tags"

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
        """Check the template; arguments as in `make_protocol`. By default `date` is the clock's.

        Raises:
            ValueError: There is no chat template or no end of a turn, a tool has the name of one of the tags, or an
                example cannot be written.
        """
        self._tools = check_tools(tools)
        self.system = system_text(system, description(tools), describe)
        # The system text describes the tools, so the template is not told of them.
        self._template = Template.chosen(tokenizer, (), self.system, date, template)
        written = self._template.try_render([message("user", ""), message("assistant", "turn")], False)
        if CHANNEL in (written or "").rpartition("turn")[0].rpartition("user")[2]:
            raise ValueError(
                "the model writes its turns in channels, which protocol tags knows nothing of: use protocol: chat"
            )
        for name in _OWN:
            if name in self._tools:
                raise ValueError(
                    f"a tool cannot be named {name!r} under protocol tags: rename it, or use protocol chat"
                )
        self._tag = re.compile("<(/?)(" + "|".join(map(re.escape, (*_OWN, *self._tools))) + ")>")
        closing = [f"</{name}>" for name in (*self._tools, "answer")] + ["<result>"]
        self._ends = find_ends(self._template, ends, ("</think>", *closing))
        self.stop = Stop(self._ends.tokens, (*closing, *self._ends.strings))
        ids = [i for i in map(self._template.single_token, closing) if i is not None]
        if len(ids) == len(closing):
            self.stop = Stop(self._ends.tokens.union(ids), self._ends.strings)
        own = {f"<{slash}{name}>" for name in (*_OWN, *self._tools) for slash in ("", "/")}
        control = set(self._template.control_tokens())
        self.reserved = frozenset(control | own)
        self._quote = quoter(self.reserved)
        self._quote_question = quoter(control - own)
        self._thinking = self._template.render(self._template.opening("")).rstrip().endswith("<think>")
        self._reply = learn_reply(self._template)
        self._examples = [message for example in examples for message in self._solved(example)]
        check_examples(self._template, self._examples)

    def prompt(self, question: str, instruction: str = "") -> list[int]:
        """System text, examples and question in the chat template, up to the start of the assistant's turn."""
        return self._template.prompt(self._quote_question(question), self._examples, self._quote(instruction))

    def turn(self, call: ToolCall, thought: str = "") -> list[int]:
        """The thought in its tag, and the call in that of its tool."""
        tokens = self._template.encode(_thought(thought) + self._call(call))
        if self.parse(tokens).calls != (call,):
            raise ValueError(f"a call of {call.name} with {call.arguments} cannot be written between tags")
        return tokens

    def _call(self, call: ToolCall) -> str:
        if call.name not in self._tools:
            raise ValueError(f"there is no tool {call.name!r}: the tools are {', '.join(self._tools) or 'none'}")
        only = _text_parameter(self._tools[call.name])
        plain = only is not None and call.arguments.keys() == {only}
        value = call.arguments[str(only)] if plain else call.arguments
        inside = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value else ""
        return f"<{call.name}>{inside}</{call.name}>"

    def _solved(self, example: Example) -> list[MessageDict]:
        """An example as a question and the one message in which it is solved."""
        thoughts = [*example.thoughts, *[""] * (len(example.calls) + 1)]
        parts = []
        for (call, result), thought in zip(example.calls, thoughts, strict=False):
            parts += [_thought(thought), self._call(call), f"<result>{self._quote(result)}</result>"]
        parts += [_thought(thoughts[len(example.calls)]), f"<answer>{self._quote(example.answer)}</answer>"]
        return [message("user", self._quote_question(example.question)), message("assistant", "".join(parts))]

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        """Parse the tags of one turn."""
        return _parse(self._ends.text(tokens), self._tag, self._tools, self._thinking)

    def call_start(self, tokens: Sequence[int]) -> int:
        """Number of tokens before the tool's open tag."""
        # No tool's tag can stand before the call, because such a turn breaks the protocol.
        tags = self._tag.finditer(self._template.decode(tokens))
        start = next(tag.start() for tag in tags if tag.group(2) in self._tools)
        return self._template.tokens_before(tokens, start)

    def call_opened(self, tokens: Sequence[int]) -> int:
        """Number of tokens up to the end of the tool's open tag."""
        tags = self._tag.finditer(self._template.decode(tokens))
        end = next(tag.end() for tag in tags if tag.group(2) in self._tools)
        return self._template.tokens_through(tokens, end)

    def observation(
        self, results: Sequence[ToolResult], calls: Sequence[ToolCall], turn: Sequence[int] = ()
    ) -> list[int]:
        """`<result>` text `</result>` for each call; tags and special tokens in the text are changed (`quote`)."""
        return self._template.encode("".join(f"<result>{self._quote(result.text)}</result>" for result in results))

    def format_error(self, error: str, turn: Sequence[int]) -> list[int]:
        """The error between `<result>` and `</result>`, or as a user's message if a token ended the policy's turn."""
        if self._reply is None or turn[-1] not in self._ends.tokens:
            return self.observation([ToolResult(told(error))], [ToolCall("")])
        return self._reply.encode(self._template, self._quote(told(error)), ended=True)


def _thought(text: str) -> str:
    return f"<think>{text}</think>" if text else ""


def description(tools: Sequence[ToolLike]) -> str:
    """The protocol's description of itself: what the tags mean and which tools there are."""
    lines = ["Solve the task step by step. Write your reasoning between <think> and </think>."]
    if tools:
        lines.append(
            "You have tools. To use one, write its tag and stop; its output comes back between <result> and </result>, "
            "which you never write yourself. One tool at a time, as often as you need:"
        )
        lines += [f"- <{tool.name}>{_usage(tool)}</{tool.name}> {_description(tool)}" for tool in tools]
    lines.append("Give the final answer once, between <answer> and </answer>, and nothing after it.")
    return "\n".join(lines)


def _parse(text: str, tag: re.Pattern[str], tools: Mapping[str, ToolLike], thinking: bool) -> ParsedTurn:
    opened: str | None = None
    inner = 0
    done: ParsedTurn | None = None
    done_at = 0
    # A prompt can end with <think>, which opens the policy's first turn. This function does not know which turn it
    # reads, so it accepts a </think> before any other tag.
    may_close = thinking
    for match in tag.finditer(text):
        closes, name = match.group(1) == "/", match.group(2)
        if name == "result":
            return ParsedTurn(error=f"{match.group()} was written by the policy: only tools write results")
        if done is not None:
            break
        if opened in tools and not (closes and name in (*tools, "answer")):
            continue  # a tool's input is data, up to a tag that ends the turn
        if not closes:
            if opened is not None:
                return ParsedTurn(error=f"<{name}> inside <{opened}>")
            opened, inner = name, match.end()
        elif opened == name:
            content = text[inner : match.start()].strip()
            opened = None
            if name == "answer":
                if not content:
                    return ParsedTurn(error="the answer is empty")
                done, done_at = ParsedTurn(answer=content), match.end()
            elif name != "think":
                done, done_at = ParsedTurn(calls=(_call(tools[name], content),)), match.end()
        elif opened is not None:
            return ParsedTurn(error=f"</{name}> inside <{opened}>")
        elif not (name == "think" and may_close):
            return ParsedTurn(error=f"</{name}> without <{name}>")
        may_close = False
    if opened is not None:
        return ParsedTurn(error=f"<{opened}> is not closed")
    if done is None:
        return ParsedTurn()
    if text[done_at:].strip():
        after = f"</{done.calls[0].name}>" if done.calls else "the answer"
        return ParsedTurn(error=f"text after {after} in the same turn")
    return done


def _call(tool: ToolLike, content: str) -> ToolCall:
    schemas: Mapping[str, Any] = tool.parameters.get("properties", {})
    text_parameter = _text_parameter(tool)
    try:
        if text_parameter is None:
            return ToolCall(tool.name, load_object(content) if content or schemas else {})
        if not content:
            return ToolCall(tool.name, error=f"<{tool.name}> is empty: write the {text_parameter} inside it")
        plain = schemas[text_parameter].get("type", "string") == "string" if text_parameter in schemas else True
        return ToolCall(tool.name, {text_parameter: content if plain else load_value(content)})
    except ValueError as problem:
        return ToolCall(tool.name, error=f"the text inside <{tool.name}> cannot be read: {problem}")


def _text_parameter(tool: ToolLike) -> str | None:
    names = list(tool.parameters.get("properties", {}))
    required = list(tool.parameters.get("required", []))
    if len(names) == 1:
        return str(names[0])
    return str(required[0]) if len(required) == 1 else None


def _usage(tool: ToolLike) -> str:
    name = _text_parameter(tool)
    if name is not None:
        return name
    names = tool.parameters.get("properties", {})
    return "{" + ", ".join(f'"{n}": ...' for n in names) + "}" if names else ""


def _description(tool: ToolLike) -> str:
    schemas: Mapping[str, Any] = tool.parameters.get("properties", {})
    only = _text_parameter(tool)
    told = {n: s.get("description", "") for n, s in schemas.items() if only is None or n == only}
    notes = "; ".join(f"{n}: {d}" for n, d in told.items() if d)
    return " ".join(tool.description.split()) + (f" ({notes})" if notes else "")
