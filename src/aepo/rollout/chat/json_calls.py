"""The chat protocol: the model's own template, its own tool messages, calls as JSON.

A turn ends with the template's end-of-turn token, or with an end that the model declares. A turn without a call is the
final answer. Text inside a call's JSON is data, even if it looks like markup.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence

from aepo.boxed import last_boxed
from aepo.rollout.chat.base import ParsedTurn, Tokenizer, ToolLike, check_tools
from aepo.rollout.chat.calls import blanked, call_position, find_calls
from aepo.rollout.chat.check import check_append_only, check_call_format, writes_several
from aepo.rollout.chat.ends import find_ends
from aepo.rollout.chat.glue import learn_glue
from aepo.rollout.chat.quote import quoter
from aepo.rollout.chat.template import Template, tool_schema
from aepo.rollout.generator import NOTHING, Stop
from aepo.types import ToolCall, ToolResult

_MARKUP = ("tool_call", "tool_response", "think", "answer")
_ONE = "You then get what it returned. Call one tool at a time."
_SEVERAL = (
    "You then get what it returned. To make calls that do not need each other's results, write one after the other in "
    "the same turn; they run together, and you get all results in their order."
)
_OPEN_THINK = re.compile(r"<think>\s*$")


class JsonCallProtocol:
    """Writes questions, calls and results with the model's chat template.

    Attributes:
        name: "chat".
        stop: Any token or string that ends a turn.
        system: The system text; empty uses the template's default.
        tool_role: "tool" if results have the template's tool role; "user" if it has none and a result is a user's
            `<tool_response>`.
        several: Whether a turn may have several calls; not if the template cannot write several results in a row.
        described_by: "template" if the template describes the tools to the model, "system" if the system text does,
            "nobody" without tools, or with `system=""` under a template that ignores them.
    """

    name = "chat"

    def __init__(
        self,
        tokenizer: Tokenizer,
        tools: Sequence[ToolLike] = (),
        system: str | None = None,
        date: datetime.date | None = None,
        ends: Stop = NOTHING,
    ) -> None:
        """Arguments as of `make_protocol`; without a date a template reads the clock.

        Tools that the template ignores are described in the system text, unless `system` is empty.

        Raises:
            ValueError: No chat template, or one that changes earlier turns, hides results or writes other calls.
        """
        self._tools = check_tools(tools)
        self._template = Template(tokenizer, tuple(tool_schema(tool) for tool in tools), date)
        shows = self._shows_tools(Template(tokenizer, date=date)) if tools else False
        self.system = system or ""
        opening = self._template.opening(self.system, "question")
        opened = _OPEN_THINK.search(self._template.render(opening))
        self._opened = opened.group() if opened else ""
        self._glue = learn_glue(self._template, opening, f"{self._opened}thought\n</think>\n\n" if opened else "")
        self.tool_role, caller = self._glue.role, next(iter(self._tools), "tool")
        self.several = writes_several(self._template, opening, self._glue, caller, self._opened)
        if tools and not shows and system != "":
            self.system = f"{self.system}\n\n{describe(tools, self.several)}".strip()
        self.described_by = "template" if shows else "system" if tools and system != "" else "nobody"

        opening = self._template.opening(self.system, "question")
        check_append_only(self._template, opening, self._glue, caller, self._opened)
        for tool in tools[:1]:
            check_call_format(self._template, opening, self._glue, tool)

        ends = Stop(ends.tokens | {self._glue.end}, ends.strings)
        self._ends = find_ends(self._template, ends, ("</think>", "</tool_call>", "</answer>"))
        self.stop = Stop(self._ends.tokens, self._ends.strings)
        control = self._template.control_tokens()
        tags = {f"<{slash}{name}>" for name in _MARKUP for slash in ("", "/")}
        self._quote = quoter(control.keys() | tags)
        self._quote_question = quoter(control.keys() - tags)
        ending = {self._template.decode([i]) for i in self._ends.tokens}
        between = self._glue.before + self._glue.after
        self._forbidden = sorted(t for t in control.keys() - tags - ending if t in between)
        self._forbidden += ["<tool_response>", "</tool_response>"]

    def prompt(self, question: str) -> list[int]:
        """The question, with tools and system text, up to the start of the assistant's turn."""
        messages = self._template.opening(self.system, self._quote_question(question))
        return self._template.encode(self._template.render(messages))

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        """Parse one turn: its calls, else its answer."""
        text = self._opened + self._ends.text(tokens)
        shown = blanked(text)
        for written in self._forbidden:
            if written in shown:
                return ParsedTurn(error=f"{written} was written by the policy: only the template writes it")
        thought, closed, shown = shown.rpartition("</think>")
        if "<think>" in shown:
            return ParsedTurn(error="<think> is not closed")
        if closed and "<think>" not in thought:
            return ParsedTurn(error="</think> without <think>")
        if problem := _unbalanced(shown, "tool_call"):
            return ParsedTurn(error=problem)
        body = text[len(text) - len(shown) :]
        calls = find_calls(body, self._tools)
        if len(calls) > 1 and not self.several:
            calls = (ToolCall(calls[0].name, error=f"one call at a time: this turn has {len(calls)}, none was run"),)
        return ParsedTurn(calls=calls) if calls else _answer(body, shown)

    def call_start(self, tokens: Sequence[int]) -> int:
        """Number of tokens before the first call's JSON, or before the tag around it."""
        text = self._ends.text(tokens)
        thought, closed, _ = blanked(text).rpartition("</think>")
        start = len(thought + closed)
        return self._template.tokens_before(tokens, start + call_position(text[start:]))

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
        text = self._glue.encode(self._template, named)
        return [self._glue.end, *text] if by_string else text

    def _shows_tools(self, bare: Template) -> bool:
        question = bare.opening("", "question")
        return self._template.try_render(question) not in (None, bare.try_render(question))


def describe(tools: Sequence[ToolLike], several: bool) -> str:
    """The system text that describes the tools, for chat templates that do not; `several` calls a turn or one."""
    schemas = "\n".join(json.dumps(tool_schema(tool)["function"], ensure_ascii=False) for tool in tools)
    return (
        f"You can call these tools:\n<tools>\n{schemas}\n</tools>\n"
        "To call one, write its name and its arguments as JSON, and end your turn:\n"
        '<tool_call>\n{"name": "the tool", "arguments": {"an argument": "its value"}}\n</tool_call>\n'
        f"{_SEVERAL if several else _ONE} When you know the answer, write it without a call."
    )


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
