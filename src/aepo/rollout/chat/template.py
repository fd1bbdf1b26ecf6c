"""A tokenizer together with its chat template: rendering and encoding."""

from __future__ import annotations

import datetime
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aepo.rollout.chat.arguments import check_arguments
from aepo.rollout.chat.base import Tokenizer, ToolLike
from aepo.rollout.chat.dates import VARIABLE, asks_for_the_date, with_fixed_date

MessageDict = dict[str, Any]

FILE = "file"
"""The key of `rollout.template` that names a file; all others are arguments of the template."""


def message(role: str, content: str) -> MessageDict:
    """A message in the form that templates take."""
    return {"role": role, "content": content}


def call_id(number: int) -> str:
    """The id of a turn's call, for templates that ask for one; the calls of a turn are numbered from 1."""
    # Mistral's templates require an id of this length.
    return f"aepo{number:05d}"


def calling(*calls: tuple[str, object], thought: str = "") -> MessageDict:
    """An assistant's message with tool calls, each a name and its arguments, after a thought."""
    listed = [
        {"id": call_id(number), "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls, 1)
    ]
    return {**message("assistant", ""), **thinking(thought), "tool_calls": listed}


def thinking(thought: str) -> MessageDict:
    """The part of a message that holds its thought, by the names that templates read; empty without one."""
    return {"reasoning_content": thought, "thinking": thought} if thought else {}


def tool_schema(tool: ToolLike) -> dict[str, Any]:
    """A tool in the form that templates take."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


@dataclass(frozen=True)
class Template:
    """Renders conversations and encodes new text.

    Attributes:
        tokenizer: A tokenizer with a chat template.
        schemas: The tools for the template.
        date: Today's date for a template that asks for it; None reads the clock.
        other: A template to use instead of the tokenizer's; None uses the tokenizer's.
        arguments: Further arguments of every rendering, such as `enable_thinking`.
        system: The system text of every conversation; empty for none, None for the protocol's default.
    """

    tokenizer: Tokenizer
    schemas: tuple[dict[str, Any], ...] = ()
    date: datetime.date | None = None
    other: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None

    @classmethod
    def chosen(
        cls,
        tokenizer: Tokenizer,
        tools: Sequence[ToolLike],
        system: str | None,
        date: datetime.date | None,
        settings: Mapping[str, Any] | None,
    ) -> Template:
        """The template that `rollout.template` chooses: the tokenizer's, or that of `file`.

        Raises:
            ValueError: There is no template, the file cannot be read, or the template does not read an argument.
        """
        arguments = dict(settings or {})
        file = arguments.pop(FILE, None)
        other = None if file is None else _read(file)
        return cls(tokenizer, tuple(tool_schema(tool) for tool in tools), date, other, arguments, system)

    def __post_init__(self) -> None:
        """Check the template and its arguments.

        Raises:
            ValueError: There is no template, or it does not read an argument.
        """
        if not self.source:
            raise ValueError(
                "the tokenizer has no chat template: add chat_template.jinja to its folder, name one by "
                "rollout.template: {file: ...}, or use an instruct model"
            )
        check_arguments(self.source, self.arguments)

    @property
    def source(self) -> str:
        """The jinja text; empty without one."""
        found = self.tokenizer.chat_template if self.other is None else self.other
        if isinstance(found, dict):
            found = found.get("tool_use" if self.schemas else "default", found.get("default"))
        return found if isinstance(found, str) else ""

    @property
    def caller(self) -> str:
        """The name of a tool, for conversations that are rendered to try the template."""
        return str(self.schemas[0]["function"]["name"]) if self.schemas else "tool"

    def render(self, messages: Sequence[MessageDict], generation_prompt: bool = True) -> str:
        """The conversation as text.

        Raises:
            ValueError: The template raises an exception of any kind; the message quotes it.
        """
        source, dates = self.source, {}
        if self.date is not None and asks_for_the_date(source):
            source, told = with_fixed_date(source, self.date)
            dates = {VARIABLE: told}
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages),
                tools=list(self.schemas) or None,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                chat_template=source,
                **dates,
                **self.arguments,
            )
        except Exception as error:  # a template may raise any exception
            complaint = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(
                f"the chat template cannot write this conversation ({complaint}): give it what it needs by "
                "rollout.template, or name another one by rollout.template: {file: ...}"
            ) from error
        assert isinstance(text, str)
        return text

    def try_render(self, messages: Sequence[MessageDict], generation_prompt: bool = True) -> str | None:
        """The conversation as text, None if the template refuses it."""
        try:
            return self.render(messages, generation_prompt)
        except ValueError:
            return None

    def encode(self, text: str) -> list[int]:
        """Text to ids, without added special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Ids to text, special tokens included."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def tokens_before(self, tokens: Sequence[int], position: int) -> int:
        """The number of leading tokens whose text lies within the first `position` characters."""
        # A longer prefix of the tokens never has a shorter text, so a binary search works.
        counts = range(len(tokens) + 1)
        return bisect_right(counts, position, key=lambda count: len(self.decode(tokens[:count]))) - 1

    def tokens_through(self, tokens: Sequence[int], position: int) -> int:
        """The smallest number of leading tokens whose text has the first `position` characters."""
        return bisect_left(range(len(tokens) + 1), position, key=lambda count: len(self.decode(tokens[:count])))

    def single_token(self, text: str) -> int | None:
        """The id of the token with this text; None if there is none, or the text is not encoded as one token."""
        token = self.tokenizer.convert_tokens_to_ids(text)
        # An unknown text may get the id of the unknown token. Decoding shows whether it did.
        known = token is not None and self.encode(text) == [token] and self.decode([token]) == text
        return token if known else None

    def control_tokens(self) -> dict[str, int]:
        """Special tokens, and added tokens that look like markup. Plain text must not be encoded as one of them."""
        control = {self.decode([i]): i for i in self.tokenizer.all_special_ids}
        # Some added tokens, such as Llama's header tokens, are not listed as special by transformers.
        control |= {t: i for t, i in self.tokenizer.get_added_vocab().items() if t.startswith(("<", "["))}
        return {text: i for text, i in control.items() if text.strip()}

    def opening(self, question: str = "question", instruction: str = "") -> list[MessageDict]:
        """The first messages. Without a system role in the template, the system text stands before the question.

        Args:
            question: The user's text.
            instruction: The text above the system text; empty for none.
        """
        system = "\n\n".join(filter(None, (instruction, self.system)))
        if not system:
            return [message("user", question)]
        messages = [message("system", system), message("user", question)]
        rendered = self.try_render(messages)
        if rendered is not None and system.strip() in rendered:
            return messages
        return [message("user", f"{system}\n\n{question}")]

    def prompt(self, question: str, examples: Sequence[MessageDict] = (), instruction: str = "") -> list[int]:
        """The ids of the first messages, up to the start of the assistant's turn.

        Args:
            question: The question.
            examples: The messages of solved questions, which stand before it; the first one is a question.
            instruction: The text above the system text; empty for none.
        """
        if not examples:
            return self.encode(self.render(self.opening(question, instruction)))
        opening = self.opening(str(examples[0]["content"]), instruction)
        return self.encode(self.render([*opening, *examples[1:], message("user", question)]))


def _read(file: object) -> str:
    if not isinstance(file, str):
        raise ValueError(f"rollout.template.file is {file!r}: give the path of a *.jinja file")
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"rollout.template.file: cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"rollout.template.file: {file} is not UTF-8 text") from None
