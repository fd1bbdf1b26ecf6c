"""The text that a chat template writes between two assistant turns, found once by rendering sentinels."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aepo.rollout.chat.template import MessageDict, Template, call_id, message

_CALLERS = ("aepo_sentinel_tool", "aepo_sentinel_next")
_RESULTS = ('first "line" \\ <b>\nlast é line', 'other "line" \\ <i>\nlast ü line')
_TURN = "aepo sentinel turn"
_NO_ROLE = "zzqx"

NamedResult = tuple[str, str]
"""The text of a tool result, and the name of the tool."""


@dataclass(frozen=True)
class Glue:
    """The template's own text around tool results.

    Attributes:
        end: The control token that ends the assistant's turn. The policy samples it.
        before: Text from there to the first result.
        between: Text from one result to the next one; None if the template cannot write several.
        after: Text from the last result to the start of the assistant's next turn.
        role: "tool" if the template knows that role; "user" if results are a user's `<tool_response>`.
        quoted: Whether the template writes results as JSON strings (Llama 3).
    """

    end: int
    before: str
    between: str | None
    after: str
    role: str
    quoted: bool

    def messages(self, results: Sequence[NamedResult]) -> list[MessageDict]:
        """The results of a turn as messages for the template."""
        return _result_messages(self.role, results)

    def text(self, results: Sequence[NamedResult]) -> str:
        """The text between the turn's end token and the next turn."""
        parts = [_filled(self.before, 1, results[0][1])]
        for number, (text, caller) in enumerate(results, 1):
            parts.append(_shown(text, self.quoted))
            if number < len(results):
                assert self.between is not None
                parts.append(_filled(self.between, number, caller, results[number][1]))
        return "".join([*parts, _filled(self.after, len(results), results[-1][1])])

    def encode(self, template: Template, results: Sequence[NamedResult]) -> list[int]:
        """`text()` as ids, encoded as it would be after the end token in the whole conversation."""
        behind = template.encode(template.decode([self.end]) + self.text(results))
        return behind[1:]


def learn_glue(template: Template, opening: Sequence[MessageDict], thought: str) -> Glue:
    """Render a tool loop of sentinels and cut out the text around the results.

    Args:
        template: The template.
        opening: The messages before the assistant's first turn.
        thought: Start of a turn that closes its thinking; mostly empty.

    Raises:
        ValueError: The template rewrites turns, ends them without a control token, or shows no result in either role.
    """
    turn = message("assistant", thought + _TURN)
    sentinels = list(zip(_RESULTS, _CALLERS, strict=True))
    roles = ("tool", "user") if _knows_tool_role(template, [*opening, turn]) else ("user",)
    for role in roles:
        rendered = template.try_render([*opening, turn, *_result_messages(role, sentinels[:1])])
        if rendered is None:
            continue
        if rendered.count(_TURN) != 1:
            raise ValueError(
                "the chat template does not keep an assistant's turn as it was written once a tool result follows: "
                "use protocol: tags, or a chat template that only appends"
            )
        rest = rendered.partition(_TURN)[2]
        for quoted in (False, True):
            if rest.count(_shown(_RESULTS[0], quoted)) == 1:
                two = template.try_render([*opening, turn, *_result_messages(role, sentinels)])
                return _cut(template, rest, (two or "").partition(_TURN)[2], role, quoted)
    raise ValueError(
        "the chat template does not show the text of tool results, neither as role tool nor as role user: "
        "use protocol: tags, or another chat template"
    )


def _cut(template: Template, one: str, two: str, role: str, quoted: bool) -> Glue:
    first = template.encode(one)[0]
    end = template.decode([first])
    if first not in template.control_tokens().values() or not one.startswith(end):
        raise ValueError(
            f"the chat template ends the assistant's turn with {one[:12]!r}, not with a special token: "
            "use protocol: tags, or another chat template"
        )
    before, shown, after = one[len(end) :].partition(_shown(_RESULTS[0], quoted))
    head, _, rest = two[len(end) :].partition(shown)
    between, found, _ = rest.partition(_shown(_RESULTS[1], quoted))
    return Glue(first, before, between if found and head == before else None, after, role, quoted)


def _shown(text: str, quoted: bool) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if quoted else text


def _filled(glue: str, number: int, *callers: str) -> str:
    """The text with names and ids in place of those of the sentinels; `number` counts the turn's calls from 1."""
    for at, caller in enumerate(callers):
        glue = glue.replace(_CALLERS[at], caller)
    ids = {call_id(at): call_id(at + number - 1) for at in (1, 2)}
    return re.sub("|".join(ids), lambda found: ids[found.group()], glue)


def _knows_tool_role(template: Template, before: Sequence[MessageDict]) -> bool:
    """Whether the template treats "tool" in its own way; plain ChatML only writes any role into the header."""
    result = (_RESULTS[0], _CALLERS[0])
    known, made_up = (template.try_render([*before, *_result_messages(role, [result])]) for role in ("tool", _NO_ROLE))
    return known is not None and known != (made_up or "").replace(_NO_ROLE, "tool")


def _result_messages(role: str, results: Sequence[NamedResult]) -> list[MessageDict]:
    if role == "user":
        return [message("user", "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text, _ in results))]
    return [
        {**message(role, text), "name": caller, "tool_call_id": call_id(number)}
        for number, (text, caller) in enumerate(results, 1)
    ]
