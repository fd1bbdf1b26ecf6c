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
    """A message as templates take it."""
    return {"role": role, "content": content}


def calling(name: str, arguments: object) -> MessageDict:
    """An assistant's message that is a tool call."""
    # The id has the length that Mistral's templates insist on.
    call = {"id": "aepo00001", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {**message("assistant", ""), "tool_calls": [call]}


def tool_schema(tool: ToolLike) -> dict[str, Any]:
    """A tool as templates take it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


@dataclass(frozen=True)
class Template:
    """Renders conversations and encodes new text.

    Attributes:
        tokenizer: With a chat template.
        schemas: Tools that the template is given.
        date: The day that it is told when it asks; None lets it look at the clock.
    """

    tokenizer: Tokenizer
    schemas: tuple[dict[str, Any], ...] = ()
    date: datetime.date | None = None

    def __post_init__(self) -> None:
        """Refuse a tokenizer that has no template.

        Raises:
            ValueError: It has none.
        """
        if not self.tokenizer.chat_template:
            raise ValueError(
                "the tokenizer has no chat template: add chat_template.jinja to its folder, or use an instruct model"
            )

    def render(self, messages: Sequence[MessageDict], generation_prompt: bool = True) -> str:
        """The conversation as text; whatever the template raises goes through.

        Raises:
            ValueError: The template asks for a date in a way that cannot be answered.
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
        except Exception:  # a template may raise anything; refusing is what is asked about here
            return None

    def encode(self, text: str) -> list[int]:
        """New text to ids, nothing added."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Ids to text, special tokens shown."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def tokens_before(self, tokens: Sequence[int], position: int) -> int:
        """How many leading tokens spell nothing but the first `position` characters of the text of all."""
        # The text of a beginning never gets shorter with a token more.
        counts = range(len(tokens) + 1)
        return bisect_right(counts, position, key=lambda count: len(self.decode(tokens[:count]))) - 1

    def single_token(self, text: str) -> int | None:
        """The id of the token whose text this is, None if the text is no token or is not encoded as one."""
        token = self.tokenizer.convert_tokens_to_ids(text)
        # An unknown text may be given the unknown token's id, and be encoded as that: decoding tells.
        known = token is not None and self.encode(text) == [token] and self.decode([token]) == text
        return token if known else None

    def control_tokens(self) -> dict[str, int]:
        """Special tokens, and added ones that look like markup: what plain text must not be encoded as."""
        control = {self.decode([i]): i for i in self.tokenizer.all_special_ids}
        # Llama's header tokens, among others, are added tokens that transformers does not list as special.
        control |= {t: i for t, i in self.tokenizer.get_added_vocab().items() if t.startswith(("<", "["))}
        return {text: i for text, i in control.items() if text.strip()}

    def opening(self, system: str, question: str) -> list[MessageDict]:
        """The first messages; a template without a system role gets the system text before the question."""
        if not system:
            return [message("user", question)]
        messages = [message("system", system), message("user", question)]
        rendered = self.try_render(messages)
        if rendered is not None and system.strip() in rendered:
            return messages
        return [message("user", f"{system}\n\n{question}")]
