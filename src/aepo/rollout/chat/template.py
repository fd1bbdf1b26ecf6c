"""A tokenizer together with its chat template: rendering and encoding."""

from __future__ import annotations

import datetime
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aepo.rollout.chat.base import Tokenizer, ToolLike
from aepo.rollout.chat.dates import NO_FORMAT, VARIABLE, asks_for_the_date, with_fixed_date

MessageDict = dict[str, Any]


def message(role: str, content: str) -> MessageDict:
    """A message in the form that templates take."""
    return {"role": role, "content": content}


def call_id(number: int) -> str:
    """The id of a turn's call, for templates that ask for one; the calls of a turn are numbered from 1."""
    # Mistral's templates require an id of this length.
    return f"aepo{number:05d}"


def calling(name: str, arguments: object) -> MessageDict:
    """An assistant's message with a tool call."""
    call = {"id": call_id(1), "type": "function", "function": {"name": name, "arguments": arguments}}
    return {**message("assistant", ""), "tool_calls": [call]}


def tool_schema(tool: ToolLike) -> dict[str, Any]:
    """A tool in the form that templates take."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


@dataclass(frozen=True)
class Template:
    """Renders conversations and encodes new text.

    Attributes:
        tokenizer: With a chat template.
        schemas: The tools for the template.
        date: Today's date for a template that asks for it; None reads the clock.
    """

    tokenizer: Tokenizer
    schemas: tuple[dict[str, Any], ...] = ()
    date: datetime.date | None = None

    def __post_init__(self) -> None:
        """Check the tokenizer.

        Raises:
            ValueError: It has no chat template.
        """
        if not self.tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template: add chat_template.jinja to its folder, or use an instruct model"
            )

    def render(self, messages: Sequence[MessageDict], generation_prompt: bool = True) -> str:
        """The conversation as text; exceptions of the template are passed on.

        Raises:
            ValueError: The template asks for a date in a format that it does not spell out.
        """
        dated = self._dated()
        try:
            text = self.tokenizer.apply_chat_template(
                list(messages),
                tools=list(self.schemas) or None,
                add_generation_prompt=generation_prompt,
                tokenize=False,
                **dated,
            )
        except Exception as error:  # a template may raise anything
            raise ValueError(str(error)) if dated and NO_FORMAT in str(error) else error from None
        assert isinstance(text, str)
        return text

    def _dated(self) -> dict[str, Any]:
        source = self.tokenizer.chat_template
        if isinstance(source, dict):
            source = source.get("tool_use" if self.schemas else "default", source.get("default"))
        if self.date is None or not isinstance(source, str) or not asks_for_the_date(source):
            return {}
        fixed, dates = with_fixed_date(source, self.date)
        return {"chat_template": fixed, VARIABLE: dates}

    def try_render(self, messages: Sequence[MessageDict], generation_prompt: bool = True) -> str | None:
        """The conversation as text, None if the template refuses it."""
        try:
            return self.render(messages, generation_prompt)
        except Exception:  # a template may raise anything to refuse a conversation
            return None

    def encode(self, text: str) -> list[int]:
        """Text to ids, without added special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Ids to text, special tokens included."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def tokens_before(self, tokens: Sequence[int], position: int) -> int:
        """Number of leading tokens whose text lies within the first `position` characters."""
        # A longer prefix of the tokens never has a shorter text, so a binary search works.
        counts = range(len(tokens) + 1)
        return bisect_right(counts, position, key=lambda count: len(self.decode(tokens[:count]))) - 1

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

    def opening(self, system: str, question: str) -> list[MessageDict]:
        """The first messages. Without a system role in the template, the system text stands before the question."""
        if not system:
            return [message("user", question)]
        messages = [message("system", system), message("user", question)]
        rendered = self.try_render(messages)
        if rendered is not None and system.strip() in rendered:
            return messages
        return [message("user", f"{system}\n\n{question}")]
