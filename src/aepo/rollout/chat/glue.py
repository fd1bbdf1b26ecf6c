"""The text that a chat template writes between two assistant turns, found once by rendering sentinels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from aepo.rollout.chat.template import MessageDict, Template, message

_CALLER = "aepo_sentinel_tool"
_RESULT = 'first "line" \\ <b>\nlast é line'
_TURN = "aepo sentinel turn"
_NO_ROLE = "zzqx"


@dataclass(frozen=True)
class Glue:
    """The template's own text around a tool result.

    Attributes:
        end: The control token that ends the assistant's turn. The policy samples it.
        before: Text from there to the result.
        after: Text from the result to the start of the assistant's next turn.
        role: "tool" if the template knows that role; "user" if the result is a user's `<tool_response>`.
        quoted: Whether the template writes results as JSON strings (Llama 3).
    """

    end: int
    before: str
    after: str
    role: str
    quoted: bool

    def messages(self, text: str, caller: str) -> list[MessageDict]:
        """The result as messages for the template."""
        return [_result_message(self.role, text, caller)]

    def text(self, text: str, caller: str) -> str:
        """The text between the turn's end token and the next turn."""
        shown = json.dumps(text, ensure_ascii=False)[1:-1] if self.quoted else text
        return self.before.replace(_CALLER, caller) + shown + self.after.replace(_CALLER, caller)

    def encode(self, template: Template, text: str, caller: str) -> list[int]:
        """`text()` as ids, encoded as it would be after the end token in the whole conversation."""
        behind = template.encode(template.decode([self.end]) + self.text(text, caller))
        return behind[1:]


def learn_glue(template: Template, opening: Sequence[MessageDict], thought: str) -> Glue:
    """Render a tool loop of sentinels and cut out the text around the result.

    Args:
        template: The template.
        opening: The messages before the assistant's first turn.
        thought: Start of a turn that closes its thinking; mostly empty.

    Raises:
        ValueError: The template rewrites turns, ends them without a control token, or shows no result in either role.
    """
    turn = message("assistant", thought + _TURN)
    roles = ("tool", "user") if _knows_tool_role(template, [*opening, turn]) else ("user",)
    for role in roles:
        rendered = template.try_render([*opening, turn, _result_message(role, _RESULT, _CALLER)])
        if rendered is None:
            continue
        if rendered.count(_TURN) != 1:
            raise ValueError(
                "the chat template does not keep an assistant's turn as it was written once a tool result follows: "
                "use protocol: tags, or a chat template that only appends"
            )
        rest = rendered.partition(_TURN)[2]
        for quoted in (False, True):
            shown = json.dumps(_RESULT, ensure_ascii=False)[1:-1] if quoted else _RESULT
            if rest.count(shown) == 1:
                return _cut(template, rest, shown, role, quoted)
    raise ValueError(
        "the chat template does not show the text of tool results, neither as role tool nor as role user: "
        "use protocol: tags, or another chat template"
    )


def _cut(template: Template, rest: str, shown: str, role: str, quoted: bool) -> Glue:
    first = template.encode(rest)[0]
    end = template.decode([first])
    if first not in template.control_tokens().values() or not rest.startswith(end):
        raise ValueError(
            f"the chat template ends the assistant's turn with {rest[:12]!r}, not with a special token: "
            "use protocol: tags, or another chat template"
        )
    before, _, after = rest[len(end) :].partition(shown)
    return Glue(first, before, after, role, quoted)


def _knows_tool_role(template: Template, before: Sequence[MessageDict]) -> bool:
    """Whether the template treats "tool" in its own way; plain ChatML only writes any role into the header."""
    known, made_up = (
        template.try_render([*before, _result_message(role, _RESULT, _CALLER)]) for role in ("tool", _NO_ROLE)
    )
    return known is not None and known != (made_up or "").replace(_NO_ROLE, "tool")


def _result_message(role: str, text: str, caller: str) -> MessageDict:
    if role == "user":
        return message("user", f"<tool_response>\n{text}\n</tool_response>")
    return {**message(role, text), "name": caller}
