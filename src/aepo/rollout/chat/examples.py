"""Writes turns and solved questions as a policy would have written them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from aepo.rollout.chat.template import MessageDict, Template, message
from aepo.types import ToolCall


def in_json(call: ToolCall, thought: str) -> MessageDict:
    """An assistant's message whose text has a call as JSON in a tag, for templates that write no calls."""
    written = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
    before = f"<think>\n{thought}\n</think>\n\n" if thought else ""
    return message("assistant", f"{before}<tool_call>\n{written}\n</tool_call>")


def turn_of(template: Template, made: MessageDict, ends: Collection[int]) -> list[int]:
    """The tokens of an assistant's message behind a prompt, with the token that ends it; empty if it is not one turn.

    Args:
        template: The template.
        made: The message.
        ends: The tokens that end a turn.
    """
    opening = template.opening()
    before, whole = template.try_render(opening), template.try_render([*opening, made], generation_prompt=False)
    if before is None or whole is None or not whole.startswith(before):
        return []
    tokens = template.encode(whole)[len(template.encode(before)) :]
    last = next((at for at, token in enumerate(tokens) if token in ends), None)
    return [] if last is None else tokens[: last + 1]


def check_examples(template: Template, messages: Sequence[MessageDict]) -> None:
    """Refuse examples of which a prompt does not show every text.

    Raises:
        ValueError: The template refuses or drops a part of them.
    """
    if not messages:
        return
    first, *others = messages
    shown = template.render([*template.opening(str(first["content"])), *others, message("user", "question")])
    for one in messages:
        text = str(one["content"]).strip()
        if text not in shown and json.dumps(text)[1:-1] not in shown:
            raise ValueError(
                f"the chat template does not keep a part of the task's examples ({text[:60]!r}): leave their thoughts "
                "out, or name another template by rollout.template: {file: ...}"
            )
